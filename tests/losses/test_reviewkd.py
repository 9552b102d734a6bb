"""ReviewKD: golden numbers of its parts and of the whole, sizes, one image."""

import copy

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

from luminet_mm.losses import ReviewKDLoss, hcl_loss
from luminet_mm.losses.reviewkd import ABF


class TestReviewKD(FeatureContract):
    loss = ReviewKDLoss
    shapes = MAPS


class TestPooled(FeatureContract):
    loss = ReviewKDLoss
    shapes = [*MAPS[0], (6, 7)], [*MAPS[1], (6, 9)]


def part(name):
    """The golden cases of one part of the method."""
    return [
        case
        for case in golden_cases('reviewkd')
        if case.values[0]['params']['part'] == name
    ]


def our_key(key, layers=0):
    """Translate a key; levels are counted from the other end."""
    if layers:
        level, key = key.split('.', 1)
        return f'{layers - 1 - int(level)}.{our_key(key)}'
    for theirs, ours in (
        ('conv1', 'reduce'),
        ('conv2', 'expand'),
        ('att_conv.0', 'attention'),
    ):
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    raise KeyError(key)


def load(module, case, name, layers=0):
    """Load a golden state; returns the parameters by the case's keys."""
    state = golden_state(case, name)
    module.load_state_dict({our_key(k, layers): v for k, v in state.items()})
    parameters = dict(module.named_parameters())
    return {
        key: parameters[our_key(key, layers)]
        for key in case['expected']['grad_weights'][name]
    }


@pytest.mark.parametrize('case', part('hcl'))
def test_golden_hcl(case):
    student, teacher = golden_inputs(case, 'student_feats', 'teacher_feats')
    loss = sum(hcl_loss(a, b) for a, b in zip(student, teacher, strict=True))
    assert_golden_grads(loss, case, {'student_feats': student})


@pytest.mark.parametrize('case', part('abf'))
def test_golden_abf(case):
    fuse = case['params']['fuse']
    names = ['x', 'y'] if fuse else ['x']
    inputs = golden_inputs(case, *names)
    inputs = dict(zip(names, [x.requires_grad_() for x in inputs]))
    probe, other = golden_inputs(case, 'probe_out', 'probe_residual')
    size = case['params']['out_shape']
    abf = ABF(
        inputs['x'].shape[1],
        case['params']['mid_channel'],
        probe.shape[1],
        fuse=fuse,
    ).double()
    weights = load(abf, case, 'abf')
    out, fused = abf(inputs['x'], inputs.get('y'), (size, size))
    for value, key in ((out, 'out'), (fused, 'residual')):
        torch.testing.assert_close(
            value,
            value.new_tensor(case['expected'][key]),
            rtol=1e-7,
            atol=1e-9,
        )
    loss = (out * probe).sum() + (fused * other).sum()
    assert_golden_grads(loss, case, inputs, {'abf': weights})


@pytest.mark.parametrize('case', part('end_to_end'))
def test_golden_end_to_end(case):
    params = case['params']
    student, pooled, teacher, teacher_pooled, logits = golden_inputs(
        case,
        'student_feats',
        'student_pooled',
        'teacher_preact_feats',
        'teacher_pooled',
        'student_logits',
    )
    ours, theirs = [*student, pooled], [*teacher, teacher_pooled]
    loss = ReviewKDLoss(loss_weight=params['feat_weight'])
    loss.build(ours, theirs).double()
    weights = load(loss.connectors, case, 'abfs', layers=len(ours))
    hard = nn.functional.cross_entropy(
        logits, torch.tensor(case['inputs']['target'])
    )
    assert_golden_grads(
        params['ce_weight'] * hard + loss(ours, theirs),
        case,
        {
            'student_feats': student,
            'student_pooled': pooled,
            'student_logits': logits,
        },
        {'abfs': weights},
    )


def maps(n=3, channels=4, size=8, width=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        n,
        channels,
        size,
        width or size,
        generator=generator,
        dtype=torch.float64,
    )


# -- hierarchical context loss ----------------------------------------------


def test_hcl_of_noise_is_below_its_squared_distance():
    """Pooling averages noise away, and leaves a constant."""
    one, other = maps(), maps(seed=1)
    mse = nn.functional.mse_loss(one, other)
    assert 0 < hcl_loss(one, other) < 0.8 * mse
    torch.testing.assert_close(
        hcl_loss(one, one + 2), torch.tensor(4.0, dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ('size', 'used'), [(1, []), (2, [1]), (4, [2, 1]), (5, [4, 2, 1])]
)
def test_hcl_takes_sizes_below_the_maps(size, used):
    one, other = maps(size=size), maps(size=size, seed=1)
    parts = [nn.functional.mse_loss(one, other)]
    for each in used:
        pooled = (
            nn.functional.adaptive_avg_pool2d(x, each) for x in (one, other)
        )
        parts.append(nn.functional.mse_loss(*pooled))
    weights = [2.0**-k for k in range(len(parts))]
    expected = sum(w * p for w, p in zip(weights, parts)) / sum(weights)
    torch.testing.assert_close(hcl_loss(one, other), expected)


# -- the levels -------------------------------------------------------------


def test_fuses_in_the_deepest_students_channels():
    def hidden(channels, **options):
        loss = ReviewKDLoss(**options)
        loss.build(maps(channels=channels), maps(channels=3))
        return loss.connectors[0].reduce[0].out_channels

    assert hidden(6) == 6
    assert hidden(600) == 512
    assert hidden(6, mid_channels=9) == 9


def test_only_the_deepest_level_has_nothing_to_fuse():
    features = [maps(), maps(size=4), maps(size=2)]
    loss = ReviewKDLoss().build(features, features)
    assert [level.attention is None for level in loss.connectors] == [
        False,
        False,
        True,
    ]


def test_deep_features_reach_the_shallow_levels():
    """Level 0 alone depends on the deepest student map."""
    student = [maps(), maps(size=4, seed=1)]
    student = [x.requires_grad_() for x in student]
    loss = ReviewKDLoss().build(student, student).double()
    _, fused = loss.connectors[1](student[1], None, (4, 4))
    out, _ = loss.connectors[0](student[0], fused, (8, 8))
    (grad,) = torch.autograd.grad(out.square().sum(), student[1])
    assert grad.abs().max() > 1e-6


@pytest.mark.parametrize('scale', [1, 2])
def test_any_sizes_fit(scale):
    """Those of a detector: not square, and another one in every batch."""
    loss = ReviewKDLoss().build(
        [maps(size=8), maps(size=4)], [maps(channels=5), maps(channels=6)]
    )
    loss.double()
    for height, width in ((8, 12), (13, 7)):
        student = [maps(2, 4, height, width), maps(2, 4, height // 2, 5)]
        teacher = [
            maps(2, 5, scale * height, scale * width),
            maps(2, 6, scale * height // 2, 3),
        ]
        assert loss(student, teacher).isfinite()


def test_starts_as_published():
    torch.manual_seed(0)
    loss = ReviewKDLoss().build(maps(channels=64), maps(channels=32))
    for conv in (loss.connectors[0].reduce[0], loss.connectors[0].expand[0]):
        fan_in = conv.weight[0].numel()
        assert conv.bias is None
        std = conv.weight.std().item()
        assert std == pytest.approx(fan_in**-0.5, rel=0.05)


def vectors(n, dim=6, seed=0):
    return maps(n, dim, 1, seed=seed).flatten(1)


def test_a_pooled_vector_is_a_map_of_one_position():
    student, teacher = [maps(), vectors(3)], [maps(seed=1), vectors(3, seed=2)]
    loss = ReviewKDLoss().build(student, teacher).double()
    ours, theirs = (
        [x.view(*x.shape[:2], *x.shape[2:] or (1, 1)) for x in side]
        for side in (student, teacher)
    )
    torch.testing.assert_close(loss(student, teacher), loss(ours, theirs))


def test_one_image_needs_maps_or_eval():
    student, teacher = [maps(1), vectors(1)], [maps(1, 5), vectors(1, 7)]
    loss = ReviewKDLoss().build(student, teacher).double()
    with pytest.raises(ValueError, match='ReviewKDLoss: .*two images or more'):
        loss(student, teacher)
    assert loss.eval()(student, teacher).isfinite()
    loss = ReviewKDLoss(levels=[0]).build(student, teacher).double()
    assert loss(student, teacher).isfinite()


def test_one_image_on_each_of_several_ranks_needs_synced_batch_norm(
    monkeypatch,
):
    student, teacher = [maps(1), vectors(1)], [maps(1, 5), vectors(1, 7)]
    loss = ReviewKDLoss().build(student, teacher).double()
    synced = torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(loss))
    with pytest.raises(ValueError, match='two images or more'):
        synced(student, teacher)  # one rank: nothing to synchronise with
    monkeypatch.setattr('luminet_mm.losses.reviewkd.world_size', lambda: 2)
    with pytest.raises(ValueError, match="sync_bn='torch'"):
        loss(student, teacher)
    synced._check_batch_norm()  # the rest runs on GPUs only


@pytest.mark.parametrize('n', [0, 2])
def test_few_rows_and_huge_or_dead_values(n):
    loss = ReviewKDLoss().build(
        [maps(), vectors(3)], [maps(channels=5), vectors(3, 7)]
    )
    teacher = [maps(n, 5, seed=1).float(), vectors(n, 7).float()]
    for scale in (0, 1e6):
        student = [scale * maps(n).float(), scale * vectors(n).float()]
        student = [x.requires_grad_() for x in student]
        value = loss(student, teacher)
        value.backward()
        assert value.isfinite()
        assert all(x.grad.isfinite().all() for x in student)


@pytest.mark.parametrize('bad', [0, -1, 2.5])
def test_bad_channels_are_named(bad):
    with pytest.raises(ValueError, match='ReviewKDLoss: mid_channels is'):
        ReviewKDLoss(mid_channels=bad)
