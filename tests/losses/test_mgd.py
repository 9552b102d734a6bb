"""MGD: golden numbers for a given mask, and how masks are drawn."""

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS

from luminet_mm.losses import MGDLoss, mgd_loss
from luminet_mm.losses import mgd as module


class TestMGD(FeatureContract):
    loss = MGDLoss
    options = {'mask_ratio': 0.0}  # without its random masks
    shapes = MAPS


@pytest.mark.parametrize('case', golden_cases('mgd'))
def test_golden(case, monkeypatch):
    student, teacher, mask = golden_inputs(
        case, 'student_feat', 'teacher_feat', 'mask'
    )
    monkeypatch.setattr(module, 'draw_mask', lambda *_: mask)
    loss = MGDLoss(loss_weight=case['params']['alpha'])
    loss.build(student, teacher).double()
    loss.load_state_dict(
        {rename(k): v for k, v in golden_state(case, 'mgd').items()}
    )
    parameters = {rename(k): k for k in golden_state(case, 'mgd')}
    weights = {parameters[k]: p for k, p in loss.named_parameters()}
    assert_golden_grads(
        loss(student, teacher),
        case,
        {'student_feat': student},
        {'mgd': weights},
    )


def rename(key):
    """The official name of a weight as ours."""
    part, rest = key.split('.', 1)
    ours = {'align': 'align.0', 'generation': 'generators.0'}
    return f'{ours[part]}.{rest}'


def maps(channels=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        3, channels, 5, 5, generator=generator, dtype=torch.float64
    )


def test_is_a_sum_per_image():
    student, teacher = maps(), maps(seed=1)
    mask = torch.ones_like(student[:, :1])
    distance = (2 * student - teacher).square().sum() / 3
    torch.testing.assert_close(
        mgd_loss(student, teacher, mask, lambda x: 2 * x), distance
    )


def test_a_masked_position_has_no_gradient_of_its_own():
    """Generation gets 0 there, whatever the student has."""
    student, teacher = maps().requires_grad_(), maps(seed=1)
    mask = module.draw_mask(student, 0.5)
    mgd_loss(student, teacher, mask, torch.sin).backward()
    kept = mask.bool().expand_as(student)
    assert not student.grad[~kept].any()
    assert student.grad[kept].all()


@pytest.mark.parametrize('ratio', [0.0, 0.15, 0.65])
@pytest.mark.parametrize(
    ('kind', 'shape'),
    [('position', (8, 1, 40, 40)), ('channel', (8, 1600, 1, 1))],
)
def test_masks_hide_their_share(kind, shape, ratio):
    features = torch.zeros(1, dtype=torch.float64)
    features = features.expand(8, 1600, 40, 40)
    torch.manual_seed(0)
    mask = module.draw_mask(features, ratio, kind)
    assert mask.shape == shape
    assert mask.dtype == torch.float64
    hidden = (mask == 0).double().mean().item()
    assert hidden == pytest.approx(ratio, abs=0.02)
    assert set(mask.unique().tolist()) <= {0, 1}
    if ratio:
        assert not torch.equal(mask, module.draw_mask(features, ratio, kind))


@pytest.mark.parametrize('kind', module.MASKS)
def test_each_step_draws_anew_from_torchs_generator(kind):
    loss = MGDLoss(mask=kind, mask_ratio=0.5).build(maps(), maps()).double()
    student, teacher = maps(), maps(seed=1)
    torch.manual_seed(1)
    one, other = loss(student, teacher), loss(student, teacher)
    torch.manual_seed(1)
    assert one == loss(student, teacher) != other


def test_channels_are_aligned_where_they_differ():
    student, teacher = [maps(), maps(3)], [maps(), maps(5)]
    loss = MGDLoss().build(student, teacher)
    align = sum(p.numel() for p in loss.align.parameters())
    generators = sum(p.numel() for p in loss.generators.parameters())
    assert align == 3 * 5 + 5
    assert generators == sum(2 * (9 * c * c + c) for c in (4, 5))


def test_other_sizes_are_an_error():
    with pytest.raises(ValueError, match='equal rows and sizes'):
        MGDLoss().build(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'mask_ratio': 1.0}, r'mask_ratio is 1\.0'),
        ({'mask_ratio': -0.1}, r'mask_ratio is -0\.1'),
        ({'mask': 'spatial'}, "mask is 'spatial'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=f'MGDLoss: {message}'):
        MGDLoss(**options)
