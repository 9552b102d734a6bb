"""SRD: golden numbers, what normalisation forgets, rows, connectors."""

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
from losses.contracts.feature import MAPS, VECTORS
from torch import nn

from luminet_mm.losses import SRDLoss, kd_loss, srd_loss
from luminet_mm.losses.base.rows import feature_rows
from luminet_mm.losses.srd import FORMS

each_form = pytest.mark.parametrize('form', FORMS)


class TestSRD(FeatureContract):
    loss = SRDLoss
    shapes = VECTORS


class TestPositions(FeatureContract):
    loss = SRDLoss
    options = {'form': 'correlation', 'rows': 'positions', 'connector': 'mlp'}
    shapes = MAPS


class TestTokens(FeatureContract):
    loss = SRDLoss
    options = {'form': 'correlation', 'extra_tokens': 0}
    shapes = [(6, 11, 4)], [(6, 7, 3, 3)]


def rows(n=8, ours=5, theirs=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(n, width, generator=generator, dtype=torch.float64)
        for width in (ours, theirs)
    )


def maps(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in shapes
    )


def batch_norm(x, eps=1e-4):
    return nn.BatchNorm1d(x.shape[1], eps=eps, affine=False).double()(x)


@pytest.mark.parametrize('case', golden_cases('srd'))
def test_golden(case):
    params = case['params']
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    loss = SRDLoss(
        form=params['form'],
        exponent=params['exponent'],
        eps=params['bn_eps'],
        log_eps=params.get('log_eps', 0.0),
    )
    loss.build(student, teacher).double()
    # Theirs has a bias, which changes nothing.
    state = golden_state(case, 'projector')
    loss.connectors[0].load_state_dict({'weight': state['weight']})
    weights = {'projector': dict(loss.connectors[0].named_parameters())}
    assert set(weights['projector']) == {'weight'}
    value = loss(student, teacher)
    inputs = {'student_feat': student}
    if 'student_logits' in case['inputs']:  # the total on ImageNet
        logits, target = golden_inputs(
            case, 'student_logits', 'teacher_logits'
        )
        value = 2 * value + kd_loss(logits, target, tau=1)
        inputs['student_logits'] = logits
    assert_golden_grads(value, case, inputs, weights)


def test_is_the_formula_with_torchs_batch_norm():
    student, teacher = rows()
    ours, theirs = batch_norm(student), batch_norm(teacher)
    torch.testing.assert_close(
        srd_loss(student, teacher, exponent=3, log_eps=0.5),
        ((ours - theirs).abs().pow(3).sum() + 0.5).log(),
    )
    correlation = (ours * theirs).mean(0)
    torch.testing.assert_close(
        srd_loss(student, teacher, form='correlation', log_eps=0.5),
        ((1 - correlation).pow(4).sum() + 0.5).log(),
    )


@each_form
def test_ignores_scale_and_shift_of_each_column(form):
    student, teacher = rows()
    scale = torch.linspace(0.5, 4, 5).double()
    options = {'form': form, 'eps': 1e-12}
    torch.testing.assert_close(
        srd_loss(scale * student + 7, teacher / scale - 3, **options),
        srd_loss(student, teacher, **options),
    )


@each_form
def test_equal_features_are_the_minimum_with_no_gradient(form):
    student, _ = rows()
    student.requires_grad_()
    loss = srd_loss(student, student.detach(), form=form, eps=1e-12)
    loss.backward()
    assert loss.item() == pytest.approx(-11.5129, rel=1e-4)
    assert student.grad.abs().max() < 1e-6


def test_starts_near_the_logarithm_of_12_n_d():
    """The fourth power of a difference of two normal variables is 12."""
    student, teacher = rows(4000, 20, 20)
    value = srd_loss(student, teacher).item()
    assert value == pytest.approx(math.log(12 * 80000), abs=0.1)


def test_two_rows_are_plus_and_minus_1():
    """Of equal sign the distance is 0, of different sign 2."""
    student, teacher = rows(2)
    differ = ((student[0] > student[1]) != (teacher[0] > teacher[1])).sum()
    torch.testing.assert_close(
        srd_loss(student, teacher, eps=1e-14, log_eps=1.0),
        (2 * 16 * differ + 1.0).double().log(),
    )


@each_form
@pytest.mark.parametrize('n', [0, 1, 2])
def test_few_rows_are_finite(form, n):
    student, teacher = (x.float() for x in rows(n))
    student.requires_grad_()
    loss = srd_loss(student, teacher, form=form)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()
    assert n or loss == 0
    assert n > 1 or not student.grad.any()  # one row carries nothing


@each_form
@pytest.mark.parametrize('exponent', [1, 2, 4])
def test_dead_and_huge_columns_have_a_finite_gradient(form, exponent):
    student, teacher = (x.float() for x in rows())
    student[:, 0] = 0
    teacher[:, 1] = 3
    student[:, 2] *= 1e8
    teacher[:, 3] *= 1e8
    student[:, 4] = teacher[:, 4]
    student.requires_grad_()
    loss = srd_loss(student, teacher, form=form, exponent=exponent)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


# -- rows and connectors ----------------------------------------------------


def test_maps_are_pooled():
    student, teacher = maps((6, 3, 4, 4), (6, 5, 2, 2))
    loss = SRDLoss().build(student, teacher).double()
    torch.testing.assert_close(
        loss(student, teacher),
        loss(student.mean((2, 3)), teacher.mean((2, 3))),
    )


def test_positions_are_rows_of_the_smaller_map():
    student, teacher = maps((2, 3, 4, 4), (2, 5, 2, 2))
    ours, theirs = feature_rows(student, teacher, 'positions')
    assert theirs.shape == (8, 5)
    torch.testing.assert_close(theirs[6], teacher[1, :, 1, 0])
    torch.testing.assert_close(ours[6], student[1, :, 2:, :2].mean((1, 2)))
    loss = SRDLoss(rows='positions').build(student, teacher).double()
    torch.testing.assert_close(loss(student, teacher), loss(ours, theirs))


@pytest.mark.parametrize(
    ('connector', 'parameters'),
    [
        ('linear', 5 * 7),
        ('mlp', 5 * 7 + 7 + 7 * 7),
        ({'type': 'mlp', 'hidden': 3}, 5 * 3 + 3 + 3 * 7),
        ('orthogonal', 5 * 7),
    ],
)
@pytest.mark.parametrize('as_maps', [False, True])
def test_connectors_have_no_bias_at_their_end(connector, parameters, as_maps):
    student, teacher = rows(8, 5, 7)
    if as_maps:
        student, teacher = maps((8, 5, 4, 4), (8, 7, 2, 2))
    loss = SRDLoss(connector=connector).build(student, teacher).double()
    assert sum(p.numel() for p in loss.parameters()) == parameters
    assert loss(student, teacher).isfinite()


def test_an_orthogonal_connector_needs_a_wider_teacher():
    with pytest.raises(ValueError, match='SRDLoss: .* 3 channels'):
        SRDLoss(connector='orthogonal').build(*rows(8, 5, 3))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('form', 'cosine'),
        ('rows', 'all'),
        ('connector', 'regressor'),
        ('connector', {'type': 'conv_bn'}),
        ('connector', {'hidden': 3}),
        ('connector', None),
        ('exponent', 0.5),
        ('exponent', float('nan')),
        ('eps', 0),
        ('log_eps', -1),
    ],
)
def test_bad_options_are_named(key, value):
    with pytest.raises(ValueError, match=f'SRDLoss: {key} is .*; set '):
        SRDLoss(**{key: value})
