"""A config is laid out once, as it would be each time."""

import pytest
from mmengine.config import Config
from yapf.yapflib import yapf_api

from luminet_mm.launch import config_text


@pytest.fixture
def calls(monkeypatch):
    """The texts that yapf itself was given."""
    given = []

    def lay_out(text, style_config=None, verify=True):
        given.append(text)
        if text == 'broken':
            raise SyntaxError(text)
        return f'{text} in {style_config}', True

    monkeypatch.setattr(yapf_api, 'FormatCode', lay_out)
    config_text.lay_out_once()
    return given


def test_the_same_text_is_laid_out_once(calls):
    style = dict(based_on_style='pep8')
    first = yapf_api.FormatCode('a', style_config=dict(style))
    assert yapf_api.FormatCode('a', style_config=dict(style)) == first
    assert first[0] == f'a in {style}'
    yapf_api.FormatCode('a', style_config={})  # another style
    yapf_api.FormatCode('b', style_config=style)
    assert calls == ['a', 'a', 'b']


def test_a_config_that_changed_is_laid_out_again(calls):
    cfg = Config(dict(seed=1))
    texts = [cfg.pretty_text, cfg.pretty_text]
    cfg.seed = 2
    texts.append(cfg.pretty_text)
    assert texts[0] == texts[1] and 'seed=1' in texts[0]
    assert 'seed=2' in texts[2]
    assert len(calls) == 2


def test_the_last_few_are_kept(calls):
    for text in 'abcdea':
        yapf_api.FormatCode(text)
    assert calls == [*'abcdea'] and len(yapf_api.FormatCode.kept) == 4


def test_an_error_is_not_kept_and_once_is_enough(calls):
    for _ in range(2):
        with pytest.raises(SyntaxError):
            yapf_api.FormatCode('broken')
    assert calls == ['broken'] * 2
    before = yapf_api.FormatCode
    config_text.lay_out_once()
    assert yapf_api.FormatCode is before


def test_a_run_asks_for_it(monkeypatch, tmp_path):
    import luminet_mm.launch.quiet as quiet

    asked = []
    monkeypatch.setattr(quiet, 'lay_out_once', lambda: asked.append(1))

    class Stop(Exception):
        pass

    def from_cfg(cls, cfg):
        assert asked == [1]
        raise Stop

    monkeypatch.setattr(quiet.Runner, 'from_cfg', classmethod(from_cfg))
    with pytest.raises(Stop):
        quiet.make_runner(Config(dict(work_dir=str(tmp_path))))
