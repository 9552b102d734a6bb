"""FCFD on detectors: RoIs on mixed maps."""

import copy

import pytest
import tiny
import torch
from losses.temperature import assert_climbs
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

ROI_NAMES = ['neck', 'roi.cls_score', 'roi.bbox_pred']


def identical(model):
    """Give the student the teacher's weights, and bridges that do nothing."""
    state = model.teacher.model.state_dict()
    model.load_state_dict(state, strict=False)
    for loss in model.distill.values():
        for bridges in (loss.to_teacher, loss.to_student):
            for index in range(len(bridges)):
                bridges[index] = nn.Identity()
    return model.eval()


def detector_distiller(teacher=None, student=None, **options):
    cfg = dict(type='luminet_mm.FCFDRoILoss', signal=ROI_NAMES, **options)
    model = tiny.distiller(student, teacher, loss_fcfd=cfg)
    model.teacher.fold_bn = teacher is None
    with DefaultScope.overwrite_default_scope('mmdet'):
        return tiny.build(model)


def detector_losses(model):
    data = tiny.prepared(model)
    return model.loss(data['inputs'], data['data_samples'])


def test_rois_on_the_maps_of_equal_detectors():
    model = detector_distiller(teacher=tiny.detector())
    state = model.teacher.model.state_dict()
    state['roi_head.bbox_head.fc_cls.weight'] *= 50
    identical(model)
    assert detector_losses(model.train())['loss_fcfd'] < 1e-8
    # both heads have a say
    weight = model.roi_head.bbox_head.fc_cls.weight.data
    weight += torch.linspace(-1, 1, weight.numel()).view_as(weight)
    assert detector_losses(model)['loss_fcfd'] > 1e-4


def test_detectors_learn_through_the_teachers_head():
    model = detector_distiller(feature_weight=0.0)
    detector_losses(model)['loss_fcfd'].backward()
    loss = model.distill.loss_fcfd
    assert (len(loss.to_teacher), len(loss.to_student)) == (5, 4)
    # of 64 x 64 pixels the RoIs are all on the first level
    for bridges in (loss.to_teacher, loss.to_student):
        assert all(p.grad is not None for p in bridges.parameters())
        assert bridges[0][0].weight.grad.any()
    assert model.neck.fpn_convs[0].conv.weight.grad.any()
    assert model.roi_head.bbox_head.shared_fcs[0].weight.grad.any()
    assert all(p.grad is None for p in model.teacher.model.parameters())


def test_weights_of_the_parts_multiply():
    weights = ('feature_weight', 'kd_weight', 'box_weight')
    model = detector_distiller().eval()
    data = tiny.prepared(model)
    features = None
    values = {}
    loss = model.distill.loss_fcfd
    forward = loss.forward

    def keep(*args):
        nonlocal features
        features = args
        return forward(*args)

    loss.forward = keep
    model.loss(data['inputs'], data['data_samples'])
    for chosen in (*weights, 'all'):
        for weight in weights:
            setattr(loss, weight, float(chosen in (weight, 'all')))
        values[chosen] = forward(*features)
    torch.testing.assert_close(
        values.pop('all'), torch.stack([*values.values()]).sum()
    )
    assert all(value > 0 for value in values.values())
    student, teacher, batch = features
    # no RoI at all
    empty = [
        (maps, scores[:0], deltas[:0])
        for maps, scores, deltas in (student, teacher)
    ]
    value = forward(*empty, copy.copy(batch).__class__(rois=batch.rois[:0]))
    value.backward()
    assert value.isfinite()


def finer():
    """A detector whose box deltas are of another unit."""
    model = tiny.detector()
    model.roi_head.bbox_head.bbox_coder.target_stds = [0.05] * 4
    return model


@pytest.mark.parametrize(
    ('student', 'teacher', 'signal', 'message'),
    [
        ('faster', 'faster', ['neck'], r"signals are \['neck'\]; set signal"),
        ('faster', 'cascade', ROI_NAMES, 'has no signal'),
        ('faster', 'small', ROI_NAMES, 'Set the same num_classes'),
        ('faster', 'coder', ROI_NAMES, r'stds.*or set box_weight=0'),
    ],
)
def test_wrong_detectors_are_named(student, teacher, signal, message):
    kinds = {'small': lambda: tiny.detector(num_classes=3), 'coder': finer}
    theirs, ours = (
        kinds.get(kind, lambda kind=kind: tiny.detector(kind))()
        for kind in (teacher, student)
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        with pytest.raises(ValueError, match=message):
            tiny.build(
                tiny.distiller(
                    ours,
                    theirs,
                    loss_fcfd=dict(
                        type='luminet_mm.FCFDRoILoss', signal=signal
                    ),
                )
            )


def test_detectors_train():
    model = detector_distiller()
    optim = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3))
    )
    log = model.train_step(tiny.batch(), optim)
    assert log['loss_fcfd'].isfinite()


def test_the_temperature_can_be_learned():
    model = detector_distiller(tau=dict(start=0.5, end=3.0)).double().eval()
    # untrained, all its answers are near 0
    model.teacher.model.roi_head.bbox_head.fc_cls.weight.data *= 50
    loss = model.distill.loss_fcfd
    signals = []
    loss.register_forward_pre_hook(lambda _, args: signals.append(args))
    data = tiny.prepared(model)
    model.loss(data['inputs'].double(), data['data_samples'])
    loss._forward_pre_hooks.clear()
    assert_climbs(loss, lambda each: each(*signals[0]))
