"""MasKD's tokens: the first stage equals the authors' code."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_state

from luminet_mm.losses.base.masks import (
    MaskModule,
    as_buffers,
    dice_loss,
    token_masks,
)

LEARN = [
    case
    for case in golden_cases('maskd')
    if case.values[0]['params']['stage'] == 'learn'
]


@pytest.mark.parametrize('case', LEARN)
def test_golden(case):
    """hunto/MasKD b5af34f, `mmdetection/maskd.py`."""
    options, wanted = case['params'], case['expected']
    maps, probe = (
        torch.tensor(case['inputs'][key], dtype=torch.float64)
        for key in ('teacher_feat', 'probe')
    )
    module = MaskModule(
        maps.shape[1], options['num_tokens'], options['weight_mask']
    ).double()
    module.load_state_dict(golden_state(case, 'mask_module'))
    out, dice = module(maps)
    close = dict(rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(out, out.new_tensor(wanted['out']), **close)
    torch.testing.assert_close(dice, dice.new_tensor(wanted['dice']), **close)
    assert_golden_grads(
        (probe * out).sum() + dice,
        case,
        {},
        {'mask_module': dict(module.named_parameters())},
    )


def test_masks_that_see_other_places_do_not_overlap():
    masks = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    assert dice_loss(masks) == 0
    assert dice_loss(masks[:, :1]) == 0
    assert dice_loss(masks[:0]) == 0
    assert dice_loss(0 * masks) == 0


def test_masks_are_of_positions():
    maps = torch.zeros(1, 2, 1, 3)
    maps[0, 0, 0, 1] = 100.0
    masks = token_masks(maps, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert masks.tolist() == [[[[0.5, 1.0, 0.5]], [[0.5, 0.0, 0.5]]]]


def test_buffers_are_saved_and_not_trained():
    module = torch.nn.ModuleList([MaskModule(4, 3)])
    before = module.state_dict()
    maps = torch.rand(2, 4, 5, 5)
    wanted = module[0](maps)
    fixed = as_buffers(module)
    assert not list(fixed.parameters())
    assert fixed.state_dict().keys() == before.keys()
    torch.testing.assert_close(fixed[0](maps), wanted)
