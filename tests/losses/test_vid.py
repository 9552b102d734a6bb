"""VID: golden numbers, and a variance that is trained."""

import math

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

from luminet_mm.losses import VIDLoss, vid_loss


class TestVID(FeatureContract):
    loss = VIDLoss
    shapes = MAPS


@pytest.mark.parametrize('case', golden_cases('vid'))
def test_golden(case):
    student, teacher, scale = golden_inputs(
        case, 'student_feat', 'teacher_feat', 'log_scale'
    )
    params = case['params']
    loss = VIDLoss(init_variance=params['init_pred_var'], eps=params['eps'])
    loss.build(student, teacher).double()
    loss.regressors[0].load_state_dict(golden_state(case, 'regressor'))
    loss.scales[0].data.copy_(scale)
    assert_golden_grads(
        loss(student, teacher),
        case,
        {'student_feat': student, 'log_scale': loss.scales[0]},
        {'regressor': dict(loss.regressors[0].named_parameters())},
    )


def maps(n=3, channels=4, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


@pytest.mark.parametrize('variance', [1e-4, 0.5, 5.0, 1000.0])
def test_begins_with_the_variance_of_the_config(variance):
    loss = VIDLoss(init_variance=variance).build(maps(), maps(channels=6))
    (scale,) = loss.scales
    assert scale.shape == (6,)
    torch.testing.assert_close(
        torch.nn.functional.softplus(scale.detach()) + 1e-5,
        torch.full((6,), variance),
        rtol=1e-5,
        atol=0,
    )


def test_is_the_likelihood_of_a_gaussian_without_its_constant():
    mean, teacher = maps(), maps(seed=1)
    scale = torch.linspace(-2, 2, 4, dtype=torch.float64)
    variance = scale.exp().log1p() + 1e-5
    gaussian = torch.distributions.Normal(
        mean, variance.sqrt()[:, None, None].expand_as(mean)
    )
    expected = -gaussian.log_prob(teacher).mean() - math.log(2 * math.pi) / 2
    torch.testing.assert_close(vid_loss(mean, teacher, scale), expected)


def test_the_best_variance_is_the_mean_squared_error():
    mean, teacher = maps(), maps(seed=1)
    errors = (mean - teacher).square().mean(dim=(0, 2, 3))
    scale = (errors - 1e-5).expm1().log().requires_grad_()
    (grad,) = torch.autograd.grad(vid_loss(mean, teacher, scale), scale)
    assert grad.abs().max() < 1e-12


def test_huge_scales_and_features_stay_finite_in_float32():
    mean = (1e10 * maps().float()).requires_grad_()
    scale = torch.tensor([-1e4, -50.0, 50.0, 1e4], requires_grad=True)
    loss = vid_loss(mean, maps(seed=1).float(), scale)
    loss.backward()
    assert loss.isfinite()
    assert mean.grad.isfinite().all()
    assert scale.grad.isfinite().all()


def test_number_of_parameters():
    loss = VIDLoss().build(
        [maps(), maps(channels=5)], [maps(channels=6), maps(channels=3)]
    )
    number = sum(p.numel() for p in loss.parameters())
    assert number == sum(s * t + 2 * t * t + t for s, t in ((4, 6), (5, 3)))


def test_the_larger_map_is_pooled_before_the_regressor():
    student, teacher = maps(size=8), maps(channels=6, size=4, seed=1)
    loss = VIDLoss().build(student, teacher).double()
    small = torch.nn.functional.avg_pool2d(student, 2)
    torch.testing.assert_close(loss(student, teacher), loss(small, teacher))


def test_bad_options_are_named():
    with pytest.raises(ValueError, match='VIDLoss: eps is 0'):
        VIDLoss(eps=0)
    with pytest.raises(ValueError, match='VIDLoss: init_variance is nan'):
        VIDLoss(init_variance=float('nan'))
    with pytest.raises(ValueError, match='is 1e-06; set more than eps, 1e-05'):
        VIDLoss(init_variance=1e-6)
