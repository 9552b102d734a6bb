"""A teacher's weights are all loaded, or it is said what is missing."""

import pytest
import tiny_cls
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from luminet_mm.teachers.weights import load_teacher


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 4), nn.BatchNorm1d(4))


def save(tmp_path, **changes):
    state = {**Net().state_dict(), **changes}
    state = {key: value for key, value in state.items() if value is not None}
    torch.save(dict(state_dict=state, meta=dict(epoch=3)), tmp_path / 'a.pth')
    return state


def load(tmp_path, model, block=None):
    return load_teacher(model, 'Net', block or {}, str(tmp_path / 'a.pth'))


def test_all_of_it_is_loaded_and_the_checkpoint_given_back(tmp_path):
    state, model = save(tmp_path), Net()
    checkpoint = load(tmp_path, model)
    assert checkpoint['meta'] == dict(epoch=3)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_what_a_distilled_teacher_was_trained_with_is_left_out(tmp_path):
    save(tmp_path, **{'distill.loss_x.connectors.0.weight': torch.ones(2)})
    load(tmp_path, Net())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'0.bias': None}, r'1 of \d entries differ.\n  0\.bias: missing'),
        ({'0.weight': torch.ones(2, 3)}, r'0\.weight: .*\(2, 3\)'),
        ({'head.bias': torch.ones(1)}, r'head\.bias: unexpected'),
        (
            {f'extra.{i}': torch.ones(1) for i in range(15)},
            r'15 of .* and 3 more\nGive the config that this',
        ),
    ],
)
def test_a_checkpoint_of_another_network_is_named(tmp_path, changes, message):
    save(tmp_path, **changes)
    with pytest.raises(ValueError, match=f'(?s){message}') as error:
        load(tmp_path, Net())
    assert 'does not fit teacher.config (Net)' in str(error.value)


def test_a_part_that_is_saved_alone_needs_the_rest(tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        block = ConfigDict(tiny_cls.lora())
        model = MODELS.build(block)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='a part of itself .*Pretrained'):
        load(tmp_path, model, block)
