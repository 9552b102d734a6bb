"""A check that fails itself is a fault of the block, and the rest goes on."""

import logging

import pytest
import tiny
from mmengine.config import Config

from luminet_mm.preflight import ConfigError, check_config, keys, models
from luminet_mm.preflight.faults import closest, guarded, one_line


def stumble(*_):
    raise TypeError('a kind of value\nthat nobody thought of')


@pytest.mark.parametrize('module, name', [(models, 'model'), (keys, 'top')])
def test_what_a_check_stumbles_over_is_one_line(monkeypatch, module, name):
    monkeypatch.setattr(module, f'{name}_problems', stumble)
    cfg = dict(model=tiny.distiller(), default_scope='mmdet', load_from='gone')
    with pytest.raises(ConfigError) as error:
        check_config(Config(cfg))
    _, *lines = str(error.value).splitlines()
    assert len(lines) == 2  # the other checks went on
    assert 'it cannot be read (TypeError: a kind of value that' in (lines[0])
    assert 'load_from: no file gone' in lines[1]


def test_the_traceback_is_for_the_log(monkeypatch):
    logged = []
    monkeypatch.setattr(
        'luminet_mm.preflight.faults.print_log',
        lambda text, logger, level: logged.append((text, level)),
    )
    problems: list[str] = []
    assert guarded(problems, 'model', stumble) is None
    assert len(problems) == 1 and 'Traceback' not in problems[0]
    ((text, level),) = logged
    assert 'Traceback' in text and level == logging.DEBUG


def test_a_config_that_contains_itself():
    def endless(node):
        return endless(node)

    problems: list[str] = []
    guarded(problems, 'model', endless, {})
    assert problems == ['model: it contains itself, or is nested too deeply']


@pytest.mark.parametrize(
    'word, found',
    [
        ('LumiNetLos', 'luminet_mm.LumiNetLoss'),
        ('luminet_mm.luminetloss', 'luminet_mm.LumiNetLoss'),
        ('mmdet.LumiNetLoss', 'luminet_mm.LumiNetLoss'),
        ('zebra', ''),
        (5, ''),
    ],
)
def test_the_name_that_was_meant(word, found):
    assert closest(word, ['luminet_mm.LumiNetLoss', 'L1Loss']) == found


def test_long_messages_are_cut():
    assert one_line('a\n b' * 200, 50) == ('a b' * 200)[:47] + '...'
