"""Config texts of others: parsed as data, built of registered classes."""

import random

import pytest
import tiny
from mmengine.config import Config
from mmengine.registry import MODELS

from luminet_mm.files.plain_config import (
    check_building,
    only_registered,
    plain_values,
)
from luminet_mm.stock import stock_config_text


def test_a_config_as_mmengine_writes_it_comes_back():
    cfg = Config(dict(model=tiny.distiller(), a=dict({'b-c': (1, None)})))
    assert plain_values(cfg.pretty_text) == cfg.to_dict()


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        'a = print(1)',
        'a = b = 1',
        'a.b = 1',
        'a = [x for x in (1, 2)]',
        'a = dict(**{})',
        'a = {**{}}',
        'a = dict([1])',
        'a = f"{1}"',
        'a = lambda: 1',
        'a = ' + '[' * 1000,
        'a = ' + '-' * 100000 + '1',
        'a =',
        'a = 1\0',
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError):
        plain_values(text)


def test_only_registered_classes_are_found():
    with only_registered():
        assert MODELS.get('mmdet.TwoStageDetector') is not None
        full = 'mmdet.models.detectors.two_stage.TwoStageDetector'
        assert MODELS.get(full) is MODELS.get('mmdet.TwoStageDetector')
        for name in ('os.mkdir', 'this', 'mmengine.fileio.dump', 'torch.load'):
            assert MODELS.get(name) is None
    assert MODELS.get('os.mkdir') is not None  # as always


@pytest.mark.parametrize(
    'model',
    [
        dict(teacher_config='a.py'),
        dict(a=[dict(b='https://example.org/a.pth')]),
        dict(backbone=dict(type='TIMMBackbone', pretrained=True)),
        dict(trust_remote_code=False),
    ],
)
def test_models_that_read_files_are_not_built(model):
    with pytest.raises(ValueError):
        check_building(model)
    check_building(
        dict(
            pretrained='torchvision://resnet18',
            init_cfg=dict(checkpoint='https://example.org/a.pth'),
        )
    )


def test_mutated_texts_raise_one_kind_of_error():
    part = dict(type='luminet_mm.ClassifierDistiller', teacher=dict(a=[1]))
    text = Config(dict(model=part, custom_hooks=[dict(type='A')])).pretty_text
    draw = random.Random(0)
    unread = 0
    for _ in range(200):
        at = draw.randrange(len(text))
        kind = draw.randrange(3)
        if kind == 0:
            changed = text[:at] + draw.choice('()[]{},=\'"x0') + text[at + 1 :]
        elif kind == 1:
            changed = text[:at] + text[at + draw.randrange(40) :]
        else:
            words = ['dict()', '5', 'None', "'a'", '[1]', '(1, )']
            start = text.index('=', at) if '=' in text[at:] else at
            changed = text[: start + 1] + draw.choice(words) + ',' + text[at:]
        try:
            unread += stock_config_text(changed) is None
        except ValueError:
            unread += 1
    assert unread > 50
