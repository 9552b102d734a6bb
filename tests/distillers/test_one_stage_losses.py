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
)


# every head's rows are looked at in test_one_stage.py
CELLS = [
    ('binary', 'retinanet'),
    ('binary', 'fcos'),
    ('luminet', 'atss'),
    ('luminet_softmax', 'gfl'),
    ('luminet_top_k', 'rtmdet'),
    ('ld', 'gfl'),
]


def distiller(name, kind, seed=0):
    both = [tiny.detector(kind) for _ in range(2)]
    for each in both:
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
    assert abs(after) < 1e-4 * before and left < 1e-3 * strength


def test_boxes_without_distributions_are_refused():
    with pytest.raises(
        ValueError, match=r'loss_x: LDLoss.*one number for each.*BCKDLoss'
    ):
        distiller('ld', 'retinanet')


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


def on_rank(rank, world_size):
    return {name: gradients(name, [rank]) for name in LOSSES}


@pytest.mark.two_ranks(run=on_rank)
def test_two_ranks_equal_one(two_ranks):
    for name in LOSSES:
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
