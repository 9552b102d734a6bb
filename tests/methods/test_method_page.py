"""The pages of the methods say what the cards say, and can be run."""

import re
from pathlib import Path

import pytest

from luminet_mm import losses
from luminet_mm.methods import METHODS, TASKS
from luminet_mm.methods.method_page import (
    DISTILLERS,
    file_name,
    method_page,
)
from luminet_mm.registry import MODELS

ROOT = Path(__file__).parents[2]
each_method = pytest.mark.parametrize(
    'method', METHODS, ids=[method.loss for method in METHODS]
)


def test_every_method_has_its_own_file():
    assert len({file_name(each) for each in METHODS}) == len(METHODS)


@each_method
def test_its_blocks_are_configs_that_build(method):
    page = method_page(method, ROOT)
    blocks = re.findall(r'^```python\n(.*?)\n```', page, re.M | re.S)
    tasks = [task for task in TASKS if method.use(task)]
    assert len(blocks) == len(tasks) > 0
    for task, block in zip(tasks, blocks):
        model = eval(f'dict({block})')
        assert model['type'] == f'luminet_mm.{DISTILLERS[task]}'
        (loss,) = model['distill'].values()
        own = {
            key: value
            for key, value in loss.items()
            if key not in ('signal', 'student', 'teacher')
        }
        assert type(MODELS.build(own)) is method.cls
        wanted = method.compared(task) or method.config(task)
        assert {**wanted, 'type': loss['type']} == loss


@each_method
def test_it_names_paper_code_and_configs(method):
    page = method_page(method, ROOT)
    assert page.startswith(f'# {method.title}\n')
    assert method.card.paper.title in page
    for source in method.card.sources:
        assert source.commit in page
    for name in re.findall(r'`(configs/\S+)`', page):
        text = (ROOT / name).read_text(encoding='utf-8')
        assert f'luminet_mm.{method.loss}' in text
    for name in re.findall(r'^::: (\S+)', page, re.M):
        module, _, attribute = name.rpartition('.')
        assert getattr(losses, attribute).__module__ == module


def test_a_method_with_configs_lists_them():
    (kd,) = [each for each in METHODS if each.card.key == 'kd']
    page = method_page(kd, ROOT)
    assert '- `configs/kd_frcnn_r101_r18_coco.py`' in page
    assert '_base_' not in page
