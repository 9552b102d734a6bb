"""TwoStageDistiller on ranks with one image each: together one batch."""

import copy

import pytest
import tiny
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DefaultScope
from ranks import run_ranks

import luminet_mm  # noqa: F401  (the ranks load this file by itself)

# RoIs of the images of the second half of the ranks: what their RPN proposes,
# few, none at all.
PROPOSALS = dict(own=None, few=5, none=0)
LOSSES = dict(
    luminet=dict(type='luminet_mm.LumiNetLoss'),
    weighted=dict(
        type='luminet_mm.LumiNetLoss',
        rows='teacher_foreground',
        added_gt=False,
    ),
    dist=dict(type='luminet_mm.DISTLoss'),
    kd=dict(type='luminet_mm.KDLoss'),
    rpn=dict(
        type='luminet_mm.BCKDLoss', signal=['rpn.objectness', 'rpn.deltas']
    ),
    mask=dict(type='luminet_mm.MaskKDLoss', signal='roi.mask'),
)
KIND = dict(mask='mask')
CASES = [
    *(('luminet', proposals, True) for proposals in PROPOSALS),
    *((name, 'few', True) for name in LOSSES if name != 'luminet'),
    ('luminet', 'few', False),
]


def distiller(name, proposals, sync, images):
    """A student whose samplers take every box: nothing is drawn.

    In float64, where other orders of summation leave 1e-13 and any other
    difference would show; in float32 they leave up to 1e-5.
    """
    kind = KIND.get(name, 'faster')
    model = tiny.detector(kind)
    model.train_cfg.rpn.sampler.num = 10**6
    model.train_cfg.rcnn.sampler.num = 10**6
    loss = dict(dict(signal='roi.cls_score'), **LOSSES[name])
    loss['sync_stats'] = sync
    teacher = tiny.detector(kind, width=12)
    model = tiny.build(tiny.distiller(model, teacher, loss_distill=loss))
    assert not [
        m
        for m in model.modules()
        if isinstance(m, torch.nn.BatchNorm2d) and m.training
    ]
    predict = model.rpn_head.loss_and_predict

    def fewer(x, samples, **kwargs):
        losses, results = predict(x, samples, **kwargs)
        for index, sample in enumerate(samples):
            late = sample.img_id >= images / 2
            if late and PROPOSALS[proposals] is not None:
                results[index] = results[index][: PROPOSALS[proposals]]
        return losses, results

    model.rpn_head.loss_and_predict = fewer
    return model.double()


def images(model, which, number, masks=False):
    """Images of one padded size; the last shows no object."""
    raw = tiny.batch(num_images=number, masks=masks)
    last = raw['data_samples'][-1]
    last.gt_instances = last.gt_instances[:0]
    raw = {key: [values[i] for i in which] for key, values in raw.items()}
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    for sample in data['data_samples']:
        boxes = sample.gt_instances.bboxes
        sample.gt_instances.bboxes = boxes.double()
    return {**data, 'inputs': data['inputs'].double()}


def gradients(model, wrapped, data, scale=1.0):
    """The gradient of the distillation term, every parameter taking part."""
    losses = wrapped(data['inputs'], data['data_samples'], mode='loss')
    loss = losses.pop('loss_distill')
    total, _ = model.parse_losses(losses)
    (loss + 0 * total).backward()
    grads = {
        name: p.grad for name, p in model.named_parameters() if p.requires_grad
    }
    return loss.detach(), grads


def on_rank(rank, world_size):
    results = {}
    for case in CASES:
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = distiller(*case, world_size)
        rois = []
        model.distill['loss_distill'].register_forward_pre_hook(
            lambda _, args, rois=rois: rois.append(len(args[0]))
        )
        ddp = MMDistributedDataParallel(
            model,
            broadcast_buffers=False,
            static_graph=True,
            gradient_as_bucket_view=True,
        )
        data = images(model, [rank], world_size, case[0] in KIND)
        results[case] = *gradients(model, ddp, data), *rois
    return results


@pytest.fixture(
    scope='module', params=[2, pytest.param(4, marks=pytest.mark.slow)]
)
def ranks(request):
    return run_ranks(on_rank, request.param, timeout=280)


def error(ranks, case):
    """Relative error of DDP's gradient, over all and of the worst tensor."""
    number = len(ranks)
    model = distiller(*case, number)
    data = images(model, range(number), number, case[0] in KIND)
    loss, grads = gradients(model, model, data)
    shares = torch.stack([rank[case][0] for rank in ranks])
    assert loss > 0
    ours = ranks[0][case][1]
    for rank in ranks[1:]:
        for name, grad in rank[case][1].items():
            assert torch.equal(grad, ours[name]), name
    norms = {name: grad.norm() for name, grad in grads.items()}
    largest = max(norms.values())
    assert sum(norm > 1e-3 * largest for norm in norms.values()) > 20
    return dict(
        loss=(shares.mean() / loss - 1).abs().item(),
        all=(
            torch.cat([(ours[n] - grads[n]).flatten() for n in grads]).norm()
            / torch.cat([grad.flatten() for grad in grads.values()]).norm()
        ).item(),
        worst=max(
            ((ours[n] - grads[n]).norm() / norm).item()
            for n, norm in norms.items()
            if norm > 1e-3 * largest
        ),
    )


@pytest.mark.parametrize(
    'case', [case for case in CASES if case[2]], ids=lambda c: f'{c[0]}-{c[1]}'
)
def test_gradient_is_that_of_one_process(ranks, case):
    errors = error(ranks, case)
    assert max(errors.values()) < 1e-10


def test_ranks_have_uneven_rows(ranks):
    rows = {
        case[1]: [rank[case][2] for rank in ranks]
        for case in CASES
        if case[0] == 'luminet'
    }
    assert rows['few'][-1] == 5 and rows['none'][-1] == 0
    for each in rows.values():
        assert each[0] > 40 and each[0] != each[-1]


def test_without_sync_the_gradient_is_another(ranks):
    """The test above would notice ranks that keep to themselves."""
    assert error(ranks, ('luminet', 'few', False))['all'] > 0.05
