"""Losses on points, on the heads of real detectors."""

import copy

import pytest
import tiny_dense as tiny
import torch
from mmengine.registry import DefaultScope

import luminet_mm  # noqa: F401  (the ranks load this file by itself)

LOSSES = dict(
    binary=dict(type='luminet_mm.BinaryKDLoss', signal='cls_score', tau=2.0),
    bckd=tiny.bckd(),
    luminet=dict(type='luminet_mm.DenseLumiNetLoss', signal='cls_score'),
    luminet_softmax=dict(
        type='luminet_mm.DenseLumiNetLoss',
        signal='cls_score',
        form='softmax',
        stats_rows='all',
    ),
    luminet_top_k=dict(
        type='luminet_mm.DenseLumiNetLoss',
        signal='cls_score',
        rows='top_k',
        stats_rows='top_k',
        top_k=20,
    ),
    ld=dict(type='luminet_mm.LDLoss', signal=['cls_score', 'bbox_pred']),
    crosskd=dict(
        type='luminet_mm.CrossKDLoss',
        signal=[
            'bbox_head.cls_convs.0.preact',
            'bbox_head.reg_convs.0.preact',
            'cls_score',
            'bbox_pred',
        ],
    ),
)

LOSSES['crosskd_raw'] = dict(LOSSES['crosskd'], align=False)

# every head's rows are looked at in test_one_stage.py
CELLS = [
    ('binary', 'retinanet'),
    ('binary', 'fcos'),
    ('luminet', 'atss'),
    ('luminet_softmax', 'gfl'),
    ('luminet_top_k', 'rtmdet'),
    ('ld', 'gfl'),
    ('crosskd', 'fcos'),
    ('crosskd', 'gfl'),
    ('crosskd_raw', 'retinanet'),
    ('crosskd_raw', 'atss'),
]


def distiller(name, kind, seed=0):
    both = [tiny.detector(kind) for _ in range(2)]
    for each in both:
        each.bbox_head.stacked_convs = 2
        if kind == 'gfl':  # the default needs more than one place of a map
            each.bbox_head.norm_cfg = dict(type='GN', num_groups=8)
    cfg = tiny.distiller(*both, loss_x=LOSSES[name])
    cfg.teacher.fold_bn = False
    model = tiny.build(cfg)
    # scores that differ: heads start with one for all points
    generator = torch.Generator().manual_seed(seed)
    for each in (model, model.teacher.model):
        for weight in each.bbox_head.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.data += 0.05 * noise
    return model


@pytest.mark.parametrize(('name', 'kind'), CELLS)
def test_a_step_trains_and_a_teacher_that_is_the_student_does_not(name, kind):
    """Of batch norms both have the running statistics."""
    model = distiller(name, kind)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    data = tiny.prepared(model)

    def step():
        model.zero_grad()
        losses = model.loss(data['inputs'], data['data_samples'])
        losses['loss_x'].backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        return losses['loss_x'].item(), max(g.abs().max() for g in grads)

    before, strength = step()
    assert before > 0 and strength > 0
    frozen = [p.grad for p in model.teacher.model.parameters()]
    assert frozen and all(grad is None for grad in frozen)
    model.teacher.model.load_state_dict(model.state_dict())
    after, left = step()
    # rounding of GIoU's eps and of float32
    assert abs(after) < 1e-4 * before
    # that of an alignment decides about the sign of |P - S|
    assert left < 1e-3 * strength or name == 'crosskd'


def test_weight_0_trains_like_stock():
    """All at once: a bit of any of them would show."""
    losses = {
        f'loss_{name}': dict(LOSSES[name], loss_weight=0.0)
        for name in ('luminet', 'ld', 'crosskd')
    }
    students = [tiny.detector('gfl') for _ in range(3)]
    model = tiny.build(tiny.distiller(*students[:2], **losses))
    stock = tiny.build(students[2])
    assert list(model.state_dict()) == list(stock.state_dict())
    for each in (model, stock):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01)
        for seed in range(2):
            data = tiny.prepared(each, seed=seed)
            optimizer.zero_grad()
            losses = each.loss(data['inputs'], data['data_samples'])
            each.parse_losses(losses)[0].backward()
            optimizer.step()
    for key, value in stock.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.parametrize('name', ['luminet', 'ld', 'crosskd'])
def test_mixed_precision_agrees_with_float32(name):
    model = distiller(name, 'gfl')
    data = tiny.prepared(model)
    exact = model.loss(data['inputs'], data['data_samples'])['loss_x']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = model.loss(data['inputs'], data['data_samples'])['loss_x']
    assert half.dtype == torch.float32
    # 8 bits of the outputs of both networks
    assert (half - exact).abs() < 0.1 * exact
    half.backward()
    assert model.backbone.layer4[0].downsample[0].weight.grad.any()


def test_boxes_without_distributions_are_refused():
    with pytest.raises(
        ValueError, match=r'loss_x: LDLoss.*one number for each.*BCKDLoss'
    ):
        distiller('ld', 'retinanet')


def test_centerness_of_crossed_heads_is_a_third_prediction():
    config = copy.deepcopy(LOSSES['crosskd'])
    config['signal'].append('centerness')
    both = [
        tiny.build(
            tiny.distiller(
                tiny.detector('atss'), tiny.detector('atss'), loss_x=each
            )
        )
        for each in (config, dict(config, center_weight=0.0))
    ]
    data = tiny.prepared(both[0])
    with_it, without = (
        model.loss(data['inputs'], data['data_samples'])['loss_x']
        for model in both
    )
    # a binary cross entropy at chance
    torch.testing.assert_close(
        with_it - without, torch.tensor(2.0).log(), rtol=0.2, atol=0
    )


def crosskd(student=None, teacher=None, **options):
    config = {**LOSSES['crosskd'], **options}
    return tiny.build(tiny.distiller(student, teacher, loss_x=config))


def test_heads_that_cannot_cross_are_refused():
    teacher = tiny.detector()
    teacher.bbox_head.feat_channels = 16
    with pytest.raises(
        ValueError, match=r'\[32, 32\] channels and .* teacher \[16, 16\]'
    ):
        crosskd(teacher=teacher)
    maps = LOSSES['crosskd']['signal']
    with pytest.raises(ValueError, match=r'compares maps of the head and th'):
        crosskd(signal=maps[2:])
    swapped = [maps[1], maps[0], *maps[2:]]
    with pytest.raises(ValueError, match='the maps of the student are .*nam'):
        crosskd(signal=swapped)
    missing = ['bbox_head.cls_convs.2.preact', *maps[1:]]
    with pytest.raises(ValueError, match=r'\(RetinaHead\) has no such convo'):
        crosskd(signal=missing)
    rtmdet = [f'bbox_head.{x}_convs.0.0.preact' for x in ('cls', 'reg')]
    with pytest.raises(ValueError, match=r'\(RTMDetSepBNHead\).*BCKDLoss'):
        crosskd(
            tiny.detector('rtmdet'),
            tiny.detector('rtmdet'),
            signal=[*rtmdet, *maps[2:]],
        )


def test_of_several_teachers_one_head_is_crossed():
    cfg = tiny.distiller(loss_x=LOSSES['crosskd'])
    cfg.teacher = [cfg.teacher, copy.deepcopy(cfg.teacher)]
    with pytest.raises(ValueError, match=r'loss_x: .*as in teachers=\[0\]'):
        tiny.build(cfg)
    cfg.distill.loss_x = dict(LOSSES['crosskd'], teachers=[1])
    model = tiny.build(cfg)
    assert model.distill.loss_x._head.model is model.teachers[1].model
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_x'] > 0


def test_a_crossed_head_is_the_teachers_and_stays_as_it_is():
    """Gradients run through it; it is in no state dict, nor in a copy."""
    model = distiller('crosskd', 'retinanet')
    head = model.distill.loss_x._head
    assert head.model is model.teacher.model
    assert not any('bbox_head' in key for key in model.distill.state_dict())
    copied = copy.deepcopy(model)
    assert copied.distill.loss_x._head.model is model.teacher.model
    before = copy.deepcopy(head.model.state_dict())
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    losses['loss_x'].backward()
    assert all(p.grad is None for p in head.model.parameters())
    after = head.model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    # the student's own last layers have no part in it
    own = model.bbox_head
    assert own.cls_convs[0].conv.weight.grad.any()
    assert own.reg_convs[0].conv.weight.grad.any()
    assert own.retina_cls.weight.grad is None
    assert own.cls_convs[1].conv.weight.grad is None


@pytest.mark.parametrize(
    ('loss', 'signal', 'said'),
    [
        ('BCKDLoss', 'bbox_pred', r"\['cls_score'\], and then 'bbox_pred'"),
        ('BCKDLoss', ['bbox_pred', 'cls_score'], 'Set signal='),
        ('BinaryKDLoss', 'neck', r"compares \['cls_score'\], of a one"),
        ('LDLoss', 'cls_score', r"compares \['cls_score', 'bbox_pred'\], of"),
    ],
)
def test_other_signals_of_points_are_refused(loss, signal, said):
    config = dict(type=f'luminet_mm.{loss}', signal=signal)
    with pytest.raises(ValueError, match=f'distill.loss_x: {loss}.*{said}'):
        tiny.build(tiny.distiller(loss_x=config))


# -- ranks ------------------------------------------------------------------


def gradients(name, which):
    """Loss and gradient on some of two images; the second has no object."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = distiller(name, 'gfl')
    raw = tiny.tiny.batch()
    last = raw['data_samples'][1]
    last.gt_instances = last.gt_instances[:0]
    raw = {key: [values[i] for i in which] for key, values in raw.items()}
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    for sample in data['data_samples']:
        # as large as the batch, so that each rank pads as one process does
        shape = dict(img_shape=(64, 64), pad_shape=(64, 64))
        sample.set_metainfo(dict(shape, batch_input_shape=(64, 64)))
    images = data['inputs']
    below = 64 - images.shape[2]
    images = torch.nn.functional.pad(images, (0, 0, 0, below))
    losses = model.loss(images, data['data_samples'])
    loss = losses['loss_x']
    loss.backward()
    grads = {
        key: p.grad
        for key, p in model.named_parameters()
        if p.grad is not None
    }
    return loss.detach(), grads


ON_RANKS = ('bckd', 'luminet', 'luminet_top_k', 'ld', 'crosskd')


def on_rank(rank, world_size):
    return {name: gradients(name, [rank]) for name in ON_RANKS}


@pytest.mark.two_ranks(run=on_rank)
def test_two_ranks_equal_one(two_ranks):
    for name in ON_RANKS:
        loss, grads = gradients(name, [0, 1])
        shares = [each[name] for each in two_ranks]
        mean = sum(s[0] for s in shares) / 2
        torch.testing.assert_close(mean, loss, rtol=1e-4, atol=0)
        whole = torch.cat([grad.flatten() for grad in grads.values()])
        mean = torch.cat(
            [
                sum(s[1].get(key, torch.zeros(())) for s in shares)
                .expand_as(grad)
                .flatten()
                / 2
                for key, grad in grads.items()
            ]
        )
        assert loss > 0 and whole.norm() > 0, name
        assert (mean - whole).norm() < 1e-4 * whole.norm(), name
