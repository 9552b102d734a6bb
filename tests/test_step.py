"""A distillation step waits for nothing and loops over nothing.

What the stock student's step and the teacher's own modules do is subtracted.
"""

import operators
import pytest
import tiny
import tiny_cls
import torch
from cells import CELLS, DETECTORS, detector_pair, numbered, pair, small
from mmengine.registry import DefaultScope

LOSSES = ('LumiNetLoss', 'KDLoss', 'DKDLoss', 'DISTLoss')


def detectors(loss, num_rois=32):
    """A distiller and its stock student, with so many RoIs an image."""

    def student():
        model = tiny.detector()
        model.train_cfg.rcnn.sampler.num = num_rois
        return model

    cfg = tiny.distiller(
        student(),
        loss_x=dict(type=f'luminet_mm.{loss}', signal='roi.cls_score'),
    )
    return tiny.build(cfg), tiny.build(student())


def classifiers(loss, **options):
    cfg = dict(type=f'luminet_mm.{loss}', signal='logits', **options)
    return (
        tiny_cls.build(tiny_cls.distiller(loss_x=cfg)),
        tiny_cls.build(tiny_cls.classifier()),
    )


def test_the_count_sees_what_a_gpu_would_wait_for():
    x = torch.rand(3)
    with operators.counted() as seen:
        x.sum().item()
        bool(x.sum() > 0)
        x.tolist()
        x[x > 0.5]
        x.nonzero()
        x[torch.tensor([0])]
    assert seen.reads == {
        '_local_scalar_dense': 2,
        'tolist': 1,
        'index': 1,
        'nonzero': 1,
    }


@pytest.mark.parametrize('loss', LOSSES)
def test_a_detectors_step(loss):
    """No wait; and no more operators for more images."""
    distiller, stock = detectors(loss)
    one, reads = operators.own(
        distiller, stock, tiny.prepared(distiller, num_images=1)
    )
    assert one.total() > 0 and not reads
    four, reads = operators.own(
        distiller, stock, tiny.prepared(distiller, num_images=4)
    )
    assert four == one and not reads


def test_a_detectors_step_with_more_rois():
    counts, seen = [], []
    for num_rois in (8, 64):
        distiller, stock = detectors('LumiNetLoss', num_rois)
        data = tiny.prepared(distiller)
        distiller.distill['loss_x'].register_forward_pre_hook(
            lambda module, args: seen.append(len(args[0]))
        )
        counts.append(operators.own(distiller, stock, data))
        # in each of two images, up to a few that the RPN does not propose
        assert 1.5 * num_rois < seen[-1] <= 2 * num_rois
    assert counts[0] == counts[1]


def test_a_detectors_step_with_other_preprocessing():
    """Images that are normalised anew cost as much for many as for one."""
    cfg = tiny.distiller()
    cfg.teacher['config']['model'].data_preprocessor.mean = [1.0, 2.0, 3.0]
    distiller, stock = tiny.build(cfg), tiny.build(tiny.detector())
    counts = [
        operators.own(
            distiller, stock, tiny.prepared(distiller, num_images=images)
        )
        for images in (1, 4)
    ]
    assert counts[0] == counts[1] and not counts[0][1]


@pytest.mark.parametrize('loss', LOSSES)
def test_a_classifiers_step(loss):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        distiller, stock = classifiers(loss)
        counts = [
            operators.own(
                distiller,
                stock,
                tiny_cls.prepared(distiller, num_images=images),
            )
            for images in (2, 8)
        ]
    assert counts[0] == counts[1]
    assert counts[0][0].total() > 0 and not counts[0][1]


# Reads that the count sees on a CPU and no GPU waits for.
HARMLESS = {
    # of the images' numbers, which stay in the host's memory
    ('MLLDLoss', 'classifier'): {'equal': 1},
    ('CRDLoss', 'classifier'): {'_local_scalar_dense': 2},
    # F.one_hot checks its labels on a CPU only
    ('USKDLoss', 'classifier'): {'_local_scalar_dense': 2},
}
# Those that it does wait for.
WAITS = {
    # the stock RoI extractor looks up which RoIs are of which level
    ('FCFDRoILoss', 'detector'): {'nonzero': 4},
    # few of a level's many points are picked, as the head's own loss does
    ('DenseLumiNetLoss', 'dense'): {'nonzero': 5},
    ('LDLoss', 'dense'): {'nonzero': 5},
    ('DenseLumiNetLoss', 'detector'): {'nonzero': 5},  # of an RPN's
    # queries are matched by SciPy, as in the head's own loss
    ('DETRDistillLoss', 'detr'): {'cpu': 2, 'numpy': 2},
    # sizes of levels, in each deformable attention of one more decoder pass
    ('KDDETRLoss', 'detr'): {'_local_scalar_dense': 36},
}
# A stock DETR marks the padding of each image by itself, the teacher too.
PADDING = ('lift_fresh', 'select', 'fill_', 'slice')
# The work differs from step to step, not with the number of images.
DRAWS_A_PATH = ('FCFDLoss', 'FCFDRoILoss')


@pytest.mark.slow
@pytest.mark.parametrize(('method', 'task'), CELLS)
def test_every_loss(method, task):
    if method.parts and task == 'classifier':
        pytest.skip('its student is not the stock one: nothing to subtract')
    config = dict(
        type=f'luminet_mm.{method.loss}', **small(method.config(task), task)
    )
    fixed = 'batch_size' in config
    scope = 'mmpretrain' if task == 'classifier' else 'mmdet'
    with DefaultScope.overwrite_default_scope(scope):
        if task in DETECTORS:
            kind = DETECTORS[task]
            networks = detector_pair(method, task)
            masks = method.card.key == 'mask_kd'
            distiller = kind.build(kind.distiller(*networks, loss_x=config))
            stock = kind.build(detector_pair(method, task)[0])
            batches = [
                tiny.prepared(distiller, num_images=n, masks=masks)
                for n in ((8,) if fixed else (2, 4))
            ]
        else:
            networks = pair(method)
            distiller = tiny_cls.build(
                tiny_cls.distiller(*networks, loss_x=config)
            )
            stock = tiny_cls.build(networks[0])
            batches = [
                distiller.data_preprocessor(numbered(n), True)
                for n in ((8,) if fixed else (4, 8))
            ]
        counts = [operators.own(distiller, stock, each) for each in batches]
    known = {**HARMLESS, **WAITS}.get((method.loss, task), {})
    assert [reads for _, reads in counts] == [known] * len(counts)
    if method.loss not in DRAWS_A_PATH:
        for count, _ in counts:
            for name in PADDING if task == 'detr' else ():
                count.pop(name, None)
        totals = [count.total() for count, _ in counts]
        # CRD's first step sets its constants
        assert totals[-1] <= totals[0], counts[-1][0] - counts[0][0]
