"""Models of two families: which is whose, and what they can share."""

import copy

import pytest
import tiny
import tiny_cls
import tiny_dense
import tiny_detr
import torch
from torch import nn
from toy import ToyFamily, ToyNet

from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.families import (
    check_across,
    family_of,
    logit_names,
    stock_family,
)
from luminet_mm.signals.one_stage import OneStage
from luminet_mm.signals.signal import Signal
from luminet_mm.signals.two_stage import TwoStage

PKD = dict(type='luminet_mm.PKDLoss', signal='neck')


def two_stage(kind='faster', channels=32):
    """A stock detector whose neck is as wide as those of tiny_dense."""
    model = tiny.detector(kind)
    model.neck.out_channels = model.rpn_head.in_channels = channels
    roi_head = model.roi_head
    roi_head.bbox_roi_extractor.out_channels = channels
    roi_head.bbox_head.in_channels = channels
    return model


# Student and teacher of two families, with the strides that they share.
PAIRS = {
    'FCOS -> Faster R-CNN': (
        lambda: tiny.distiller(two_stage(), tiny_dense.detector('fcos')),
        two_stage,
        [8, 16, 32, 64],
    ),
    'Mask R-CNN -> RetinaNet': (
        lambda: tiny_dense.distiller(teacher=two_stage('mask')),
        tiny_dense.detector,
        [8, 16, 32, 64],
    ),
    'DINO -> RetinaNet': (
        lambda: tiny_dense.distiller(teacher=tiny_detr.detector('dino')),
        tiny_dense.detector,
        [8, 16, 32, 64],
    ),
    'encoder of DINO -> RetinaNet': (
        lambda: tiny_dense.distiller(teacher=tiny_detr.detector('dino')),
        tiny_dense.detector,
        [8, 16, 32, 64],
    ),
    'Faster R-CNN -> Deformable DETR': (
        lambda: tiny_detr.distiller(teacher=two_stage()),
        tiny_detr.detector,
        [8, 16, 32, 64],
    ),
    'Faster R-CNN -> RTMDet': (
        lambda: tiny_dense.distiller(
            tiny_dense.detector('rtmdet'), two_stage()
        ),
        lambda: tiny_dense.detector('rtmdet'),
        [8, 16, 32],
    ),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    """A distiller's config, that of its stock student, shared strides."""
    config, stock, strides = PAIRS[request.param]
    theirs = 'encoder' if 'encoder' in request.param else 'neck'

    def distiller(**options):
        cfg = config()
        signals = dict(student='neck', teacher=theirs)
        loss = dict(type='luminet_mm.PKDLoss', **signals)
        cfg.distill = dict(loss_pkd=dict(loss, **options))
        return cfg

    return distiller, stock, strides


def test_a_step_trains_backbone_and_neck_with_levels_of_one_stride(pair):
    distiller, stock, strides = pair
    model = tiny.build(distiller())
    assert list(model.state_dict()) == list(tiny.build(stock()).state_dict())
    seen = []
    model.distill.loss_pkd.register_forward_pre_hook(
        lambda loss, args: seen.extend(
            loss.select(side, value)
            for side, value in zip(('student', 'teacher'), args)
        )
    )
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    sizes = [[each.shape[-1] for each in side] for side in seen]
    assert sizes == [[64 // stride for stride in strides]] * 2
    assert losses['loss_pkd'] > 0
    losses['loss_pkd'].backward()
    for part in (model.backbone, model.neck):
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0
            for p in part.parameters()
        )


@pytest.mark.parametrize(
    'pair',
    [
        'FCOS -> Faster R-CNN',
        'Mask R-CNN -> RetinaNet',
        'Faster R-CNN -> RTMDet',  # rounds otherwise in another layout
    ],
    indirect=True,
)
def test_weight_zero_trains_like_stock(pair):
    distiller, stock, _ = pair
    models = tiny.build(distiller(loss_weight=0.0)), tiny.build(stock())
    for model in models:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for seed in range(2):
            optimizer.zero_grad()
            tiny.step(model, seed)
            optimizer.step()
    ours, theirs = (model.state_dict() for model in models)
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key


def test_maps_of_equal_weights_are_equal():
    """A Faster R-CNN whose P3 to P5 are those of its RetinaNet student."""
    cfg = tiny_dense.distiller(teacher=two_stage(), loss_pkd=PKD)
    cfg.teacher.fold_bn = False
    model = tiny_dense.build(cfg).eval()
    teacher = model.teacher.model
    teacher.backbone.load_state_dict(model.backbone.state_dict())
    for name in ('lateral_convs', 'fpn_convs'):
        ours, theirs = getattr(model.neck, name), getattr(teacher.neck, name)
        for one, other in zip(ours, list(theirs)[1:]):  # both start at C3
            other.load_state_dict(one.state_dict())
    values = []
    loss = model.distill.loss_pkd
    loss.register_forward_pre_hook(lambda _, args: values.extend(args[:2]))
    data = tiny_dense.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    both = loss.select('student', values[0]), loss.select('teacher', values[1])
    for ours, theirs in list(zip(*both))[:3]:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('pair', ['Mask R-CNN -> RetinaNet'], indirect=True)
def test_a_copy_compares_the_same_levels_with_the_same_teacher(pair):
    """EMA's copy, that is."""
    model = tiny.build(pair[0]()).eval()
    copied = copy.deepcopy(model)
    assert copied.teacher.model is model.teacher.model
    data = tiny.prepared(model)
    ours, theirs = (
        each.loss(data['inputs'], data['data_samples'])['loss_pkd']
        for each in (model, copied)
    )
    assert torch.equal(ours, theirs) and ours > 0


@pytest.mark.parametrize(
    ('signal', 'said'),
    [
        (
            dict(student='cls_score', teacher='roi.cls_score'),
            r"loss_x: a row of 'cls_score' of the student \(OneStageDistil"
            r"ler\) is not a row of 'roi.cls_score' of the teacher \(Faster"
            r"RCNN\). .*maps alone can be compared: 'backbone' and 'neck'",
        ),
        (dict(student='bbox_pred', teacher='neck'), "a row of 'bbox_pred'"),
        (
            dict(student='neck', teacher='rpn.cls_score'),
            "is not a row of 'rpn.cls_score'",
        ),
        (
            dict(student='neck', teacher='cls_score'),
            r"the teacher \(FasterRCNN\) has no signal 'cls_score'.* maps al",
        ),
    ],
)
def test_rows_of_two_kinds_are_refused(signal, said):
    loss = dict(type='luminet_mm.KDLoss', **signal)
    with pytest.raises(ValueError, match=said):
        tiny_dense.build(
            tiny_dense.distiller(teacher=two_stage(), loss_x=loss)
        )


def test_of_several_the_one_that_is_meant_is_named():
    """Each is of a family of its own; messages have its key."""
    cfg = tiny_dense.distiller(
        loss_kd=dict(tiny_dense.bckd(), teachers=[0]),
        loss_pkd=dict(PKD, teachers=[1]),
    )
    second = copy.deepcopy(cfg.teacher)
    second['config'] = dict(model=two_stage())
    cfg.teacher = [cfg.teacher, second]
    model = tiny_dense.build(copy.deepcopy(cfg))
    kinds = [type(each.family(model.family)) for each in model.teachers]
    assert kinds == [OneStage, TwoStage]
    data = tiny_dense.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_kd'] > 0 and losses['loss_pkd'] > 0
    cfg.distill.loss_kd.teachers = [1]
    with pytest.raises(
        ValueError, match=r'the teacher \(model.teacher.1\) \(FasterRCNN\) has'
    ):
        tiny_dense.build(cfg)


@pytest.mark.parametrize('dtype', ['bf16', None])
def test_it_is_made_fast_as_any_teacher(dtype, monkeypatch):
    said = []
    monkeypatch.setattr(
        'luminet_mm.teachers.frozen.print_log',
        lambda text, *args: said.append(text),
    )
    cfg = tiny_dense.distiller(teacher=two_stage('mask'), loss_pkd=PKD)
    cfg.teacher.dtype = dtype
    model = tiny_dense.build(cfg)
    model.fit_teacher(0)
    assert any('20 of 20 batch norms folded' in line for line in said)
    if dtype:
        weight = model.teacher.model.backbone.conv1.weight
        assert weight.dtype == torch.bfloat16


def test_a_classifier_can_teach_a_detector():
    """Its maps; MMPretrain's type is found in its own scope."""
    teacher = tiny_cls.classifier('resnet')
    cfg = tiny_dense.distiller(
        teacher=teacher,
        loss_x=dict(
            type='luminet_mm.ATLoss', student='neck', teacher='backbone'
        ),
    )
    cfg.teacher.default_scope = 'mmpretrain'
    model = tiny_dense.build(cfg)
    assert type(model.teacher.family(model.family)) is Classifier
    data = tiny_dense.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    losses['loss_x'].backward()
    # of strides 1 and 8 the student has the second
    assert model.distill.loss_x.levels_of('teacher') == (1,)


def test_a_family_is_that_of_the_stock_class():
    class Mine(OneStage):
        """A family that extends one of ours."""

    detector = tiny.build(tiny_dense.detector())
    classifier = tiny_cls.build(tiny_cls.classifier())
    student = Mine()
    assert family_of(detector, student) is student
    assert type(family_of(classifier, student)) is Classifier
    toy = ToyFamily()
    assert family_of(ToyNet(), toy) is toy
    assert isinstance(family_of(detector, toy), OneStage)
    # of no family: asked as the student's, as a timm model is
    assert family_of(nn.Identity(), student) is student
    Mine.stock = ToyNet
    assert family_of(detector, student) is student


def test_maps_alone_are_of_any_family():
    maps = [Signal('neck', 'neck'), Signal('b', 'backbone', path='b')]
    rows = [Signal('roi.feats', 'roi', 'feats')]
    student, teacher = nn.Identity(), nn.Linear(1, 1)
    check_across('loss_x', student, maps, teacher, maps)
    for sides in ((maps, rows), (rows, maps), (rows, rows)):
        with pytest.raises(ValueError, match=r'\(Identity\).*peer \(Linear'):
            check_across(
                'loss_x', student, sides[0], teacher, sides[1], 'peer'
            )


def test_the_family_of_a_stock_class_and_its_logits():
    for model, family, names in (
        (tiny.detector('mask'), TwoStage, ['roi.cls_score']),
        (
            tiny.detector('cascade'),
            TwoStage,
            [f'roi.{i}.cls_score' for i in range(3)],
        ),
        (tiny_dense.detector(), OneStage, ['cls_score']),
        (tiny_cls.classifier(), Classifier, ['logits']),
    ):
        module = tiny_cls if family is Classifier else tiny
        model = module.build(model)
        found = stock_family(model)
        assert type(found) is family is type(stock_family(type(model)))
        assert logit_names(found, model) == names
    assert stock_family(nn.Linear(1, 1)) is None
