"""CC: golden numbers of both forms, and what the embeddings join."""

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

from luminet_mm.losses import CCLoss, cc_loss

FORMS = {'repdistiller': 'consecutive', 'paper_gaussian_rbf': 'kernel'}


class TestCC(FeatureContract):
    loss = CCLoss
    options = {'embed_dim': 5}
    shapes = VECTORS


class TestKernel(FeatureContract):
    loss = CCLoss
    options = {'form': 'kernel', 'embed_dim': 5}
    shapes = MAPS


@pytest.mark.parametrize('case', golden_cases('cc'))
def test_golden(case):
    params = case['params']
    options = {'form': FORMS[params['variant']]}
    if 'gamma' in params:
        options.update(gamma=params['gamma'], order=params['max_p'])
    if 'modules' not in params:
        student, teacher = golden_inputs(
            case, 'student_embed', 'teacher_embed'
        )
        loss = CCLoss(**options, embed_dim=None)
        assert_golden_grads(
            loss(student, teacher), case, {'student_embed': student}
        )
        return
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    loss = CCLoss(**options, embed_dim=5).build(student, teacher).double()
    weights = {}
    for name, embeds in (
        ('embed_s', loss.student_embeds),
        ('embed_t', loss.teacher_embeds),
    ):
        embeds[0].load_state_dict(golden_state(case, name))
        weights[name] = dict(embeds[0].named_parameters())
    assert_golden_grads(
        loss(student, teacher), case, {'student_feat': student}, weights
    )


def rows(n=6, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def test_consecutive_multiplies_the_gaps_of_neighbours():
    student = torch.tensor([[1.0, 2.0], [-3.0, 4.0], [5.0, -6.0]])
    teacher = torch.zeros(3, 2)
    loss = cc_loss(student, teacher, form='consecutive')
    assert loss == ((1 * 3 + 2 * 4) + (3 * 5 + 4 * 6)) / 2


def test_kernel_nears_the_gaussian_and_ignores_the_order():
    student, teacher = rows(), rows(d=8, seed=1)
    kernels = []
    for x in (student, teacher):
        x = x / x.norm(dim=1, keepdim=True)
        kernels.append((-0.4 * torch.cdist(x, x).square()).exp())
    loss = cc_loss(student, teacher, form='kernel', order=12)
    torch.testing.assert_close(loss, (kernels[0] - kernels[1]).square().mean())
    swap = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(
        cc_loss(student[swap], teacher[swap], form='kernel', order=12), loss
    )
    assert cc_loss(student, student, form='kernel') == 0


@pytest.mark.parametrize('form', FORMS.values())
@pytest.mark.parametrize('n', [0, 1])
def test_too_few_rows_relate_to_nothing(form, n):
    student = rows(n).requires_grad_()
    loss = cc_loss(student, rows(n, seed=1), form=form)
    loss.backward()
    assert loss.abs() < 1e-12
    assert student.grad.abs().sum() < 1e-12


def test_dead_rows_have_no_gradient_in_the_kernel():
    student = rows().float()
    student[2] = 0
    student.requires_grad_()
    cc_loss(student, rows(seed=1).float(), form='kernel').backward()
    assert student.grad.isfinite().all()
    assert not student.grad[2].any()


def test_equal_rows_have_a_finite_gradient():
    student = rows(1).repeat(4, 1).requires_grad_()
    for form in FORMS.values():
        loss = cc_loss(student, rows(4, seed=1), form=form)
        (grad,) = torch.autograd.grad(loss, student)
        assert grad.isfinite().all()


@pytest.mark.parametrize('form', FORMS.values())
def test_huge_features_stay_finite_in_float32(form):
    student = (1e10 * rows().float()).requires_grad_()
    loss = cc_loss(student, 1e10 * rows(seed=1).float(), form=form)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_embeds_pooled_maps_and_vectors_in_128_dimensions():
    loss = CCLoss().build(
        [torch.rand(4, 3, 5, 5), torch.rand(4, 6)],
        [torch.rand(4, 7, 2, 2), torch.rand(4, 9)],
    )
    widths = [
        [(layer.in_features, layer.out_features) for layer in layers]
        for layers in (loss.student_embeds, loss.teacher_embeds)
    ]
    assert widths == [[(3, 128), (6, 128)], [(7, 128), (9, 128)]]
    number = sum(p.numel() for p in loss.parameters())
    assert number == 128 * (3 + 6 + 7 + 9 + 4)


def test_without_embeddings_only_the_kernel_joins_widths():
    student, teacher = rows(), rows(d=8, seed=1)
    assert CCLoss(form='kernel', embed_dim=None)(student, teacher) > 0
    with pytest.raises(ValueError, match='CCLoss: .* equal rows and channels'):
        CCLoss(embed_dim=None)(student, teacher)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('form', 'pairs'),
        ('embed_dim', 0),
        ('embed_dim', 2.5),
        ('gamma', 0),
        ('order', 0),
        ('order', None),
    ],
)
def test_bad_options_are_named(key, value):
    with pytest.raises(ValueError, match=f'CCLoss: {key} is {value!r}'):
        CCLoss(**{key: value})
