"""SemCKD: golden numbers, attention, and a batch size that is a layer's."""

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
from torch import nn

from luminet_mm.losses import SemCKDLoss, semckd_loss
from luminet_mm.losses.semckd import layer_attention


class TestSemCKD(FeatureContract):
    loss = SemCKDLoss
    options = {'batch_size': 6, 'factor': 2}
    shapes = MAPS


def our_key(key, teachers):
    """Translate a key of theirs; None for a layer that they do not use."""
    module, rest = key.split('.', 1)
    if module.startswith('regressor'):
        i, j = map(int, module.removeprefix('regressor'))
        return f'projectors.{i * teachers + j}' + rest.removeprefix(
            'regressor'
        )
    kind, index = module.split('_')
    layer, rest = rest.split('.', 1)
    if layer == 'regressor':
        return None
    number = dict(linear1=0, linear2=2)[layer]
    kind = dict(query='queries', key='keys')[kind]
    return f'{kind}.{index}.{number}.{rest}'


@pytest.mark.parametrize('case', golden_cases('semckd'))
def test_golden(case):
    student, teacher = golden_inputs(case, 'student_feats', 'teacher_feats')
    params = case['params']
    loss = SemCKDLoss(
        batch_size=len(student[0]),
        tau=params['attention_scale'],
        factor=params['factor'],
    )
    loss.build(student, teacher).double()
    state = golden_state(case, 'self_attention')
    keys = {key: our_key(key, len(teacher)) for key in state}
    loss.load_state_dict(
        {ours: state[key] for key, ours in keys.items() if ours}
    )
    parameters = dict(loss.named_parameters())
    assert_golden_grads(
        loss(student, teacher),
        case,
        {'student_feats': student},
        {
            'self_attention': {
                key: parameters[keys[key]]
                for key in case['expected']['grad_weights']['self_attention']
            }
        },
    )


def maps(n=6, channels=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n, channels, size, size, generator=generator, dtype=torch.float64
    )


def sides(n=6):
    """Two student maps and three of the teacher."""
    student = [maps(n), maps(n, 5, 3)]
    teacher = [maps(n, 3, 6, 1), maps(n, 6, 4, 2), maps(n, 7, 2, 3)]
    return student, teacher


def built(**options):
    options = {'batch_size': 6, 'factor': 2, **options}
    torch.manual_seed(0)
    return SemCKDLoss(**options).build(*sides()).double()


# -- attention --------------------------------------------------------------


def vectors(layers, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(4, 3, generator=generator, dtype=torch.float64)
        for _ in range(layers)
    ]


def test_attention_shares_one_among_the_teachers_layers():
    attention = layer_attention(vectors(2, 0), vectors(5, 1))
    assert attention.shape == (4, 2, 5)
    torch.testing.assert_close(attention.sum(dim=2), attention.new_ones(4, 2))


def test_attention_ignores_lengths_and_takes_the_nearest_key():
    queries, keys = vectors(2, 0), vectors(3, 1)
    attention = layer_attention(queries, keys)
    longer = layer_attention([5 * q for q in queries], [7 * k for k in keys])
    torch.testing.assert_close(longer, attention)
    keys[1] = queries[0]
    nearest = layer_attention(queries, keys, tau=1e-3)[:, 0]
    assert (nearest.argmax(dim=1) == 1).all()


def test_attention_of_dead_layers_is_finite():
    queries = [torch.zeros(4, 3, requires_grad=True)]
    attention = layer_attention(queries, [k.float() for k in vectors(2, 0)])
    attention.square().sum().backward()
    torch.testing.assert_close(attention.detach(), torch.full((4, 1, 2), 0.5))
    assert queries[0].grad.isfinite().all()


def test_equal_attention_gives_the_mean_of_all_pairs():
    distances = torch.rand(4, 2, 3)
    equal = torch.full((4, 2, 3), 1 / 3)
    torch.testing.assert_close(semckd_loss(distances, equal), distances.mean())


# -- the loss ---------------------------------------------------------------


def test_numbers_of_layers_may_differ():
    student, teacher = sides()
    loss = built()
    shapes = len(loss.queries), len(loss.keys), len(loss.projectors)
    assert shapes == (2, 3, 6)
    assert loss(student, teacher).isfinite()
    with pytest.raises(ValueError, match='2 maps .* 2 of .* built for 2 and'):
        loss(student, teacher[:2])


def test_all_weights_learn():
    student, teacher = sides()
    loss = built()
    loss(student, teacher).backward()
    assert all(weight.grad.any() for weight in loss.parameters())


def test_order_of_the_teachers_layers_does_not_matter():
    student, teacher = sides()
    loss = built()
    value = loss(student, teacher)
    order = [2, 0, 1]
    loss.keys = nn.ModuleList(loss.keys[j] for j in order)
    loss.projectors = nn.ModuleList(
        loss.projectors[3 * i + j] for i in range(2) for j in order
    )
    torch.testing.assert_close(
        loss(student, [teacher[j] for j in order]), value
    )


@pytest.mark.parametrize('n', [1, 5, 7])
@pytest.mark.parametrize('sync', [True, False])
def test_another_batch_is_an_error(n, sync):
    loss = built(sync_stats=sync)
    message = f'SemCKDLoss: batch_size is 6, but this step has {n} images'
    with pytest.raises(ValueError, match=message) as error:
        loss(*sides(n))
    assert 'drop_last=True' in str(error.value)
    assert ('on all ranks' in str(error.value)) == sync


def test_huge_or_dead_values():
    _, teacher = sides()
    loss = built().float()
    teacher = [x.float() for x in teacher]
    for scale in (0, 1e6):
        student = [(scale * x).float() for x in sides()[0]]
        student = [x.requires_grad_() for x in student]
        value = loss(student, teacher)
        value.backward()
        assert value.isfinite()
        assert all(x.grad.isfinite().all() for x in student)


@pytest.mark.parametrize(
    'options',
    [
        {'batch_size': 3},
        {'batch_size': 8.0},
        {'batch_size': 6, 'factor': 0},
        {'batch_size': 6, 'factor': 1.5},
        {'batch_size': 6, 'tau': 0},
    ],
    ids=str,
)
def test_bad_options_are_named(options):
    bad = list(options)[-1]
    with pytest.raises(ValueError, match=f'SemCKDLoss: {bad} is'):
        SemCKDLoss(**options)


def test_all_features_need_the_same_rows():
    student, teacher = sides()
    with pytest.raises(ValueError, match='SemCKDLoss: .* with equal rows'):
        SemCKDLoss(batch_size=6).build([student[0], student[1][:3]], teacher)
    with pytest.raises(ValueError, match='one or more on both sides'):
        SemCKDLoss(batch_size=6).build(student, [])
