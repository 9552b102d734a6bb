"""Which RoI heads have rows to compare; whole models: test_refusals.py."""

import copy
from types import SimpleNamespace

import pytest
import tiny
import torch
from mmdet.models.backbones.trident_resnet import TridentConv
from mmdet.models.losses import SeesawLoss
from mmdet.models.roi_heads import (
    CascadeRoIHead,
    MultiInstanceRoIHead,
    PISARoIHead,
    SparseRoIHead,
    StandardRoIHead,
)
from mmdet.models.roi_heads.bbox_heads import BBoxHead, SABLHead
from mmengine.hub import get_config
from torch import nn

from luminet_mm.signals.roi_heads import (
    bbox_heads,
    check_branches,
    check_roi_head,
    check_sampler,
    is_cascade,
    stage_of_path,
    why_no_rois,
    why_no_softmax,
)
from luminet_mm.signals.signal import Signal

LOGITS = Signal('roi.cls_score', 'roi', 'cls_score')
DELTAS = Signal('roi.bbox_pred', 'roi', 'bbox_pred')


@pytest.fixture(scope='module')
def detectors():
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        return [tiny.build(tiny.detector(k)) for k in ('faster', 'cascade')]


def test_box_heads_by_stage(detectors):
    faster, cascade = detectors
    assert bbox_heads(faster) == [faster.roi_head.bbox_head]
    assert bbox_heads(cascade) == list(cascade.roi_head.bbox_head)
    assert bbox_heads(nn.Module()) == []
    assert [is_cascade(each) for each in detectors] == [False, True]


@pytest.mark.parametrize(
    ('kind', 'with_reg', 'says'),
    [
        (SABLHead, None, 'SABLHead, which gives buckets, not deltas'),
        (BBoxHead, False, 'BBoxHead with with_reg=False'),
    ],
)
def test_box_heads_without_deltas(kind, with_reg, says):
    """RoIBoxLoss would end in an AttributeError at the first step."""
    box = kind.__new__(kind)
    nn.Module.__init__(box)
    box.loss_cls = nn.Identity()
    if with_reg is not None:
        box.with_reg = with_reg
    roi_head = StandardRoIHead.__new__(StandardRoIHead)
    nn.Module.__init__(roi_head)
    roi_head.bbox_head = box
    model = SimpleNamespace(roi_head=roi_head)
    check_roi_head(model, LOGITS, 'student')
    with pytest.raises(ValueError, match=f"'roi.bbox_pred'.* {says}; comp"):
        check_roi_head(model, DELTAS, 'student')


def test_a_class_is_asked_before_it_is_built():
    assert why_no_rois(StandardRoIHead, False, 'student') == ('', '')
    assert why_no_rois(CascadeRoIHead, True, 'student') == ('', '')
    assert why_no_rois(PISARoIHead, False, 'teacher') == ('', '')
    for kind in (PISARoIHead, MultiInstanceRoIHead, SparseRoIHead):
        assert all(why_no_rois(kind, kind is SparseRoIHead, 'student'))
    assert why_no_softmax(nn.Identity()) == ('', '')
    assert 'SeesawLoss' in why_no_softmax(SeesawLoss(num_classes=4))[0]


@pytest.mark.parametrize(
    ('path', 'stages'),
    [
        ('roi_head.bbox_head.2.fc_cls', (0, 2)),
        ('roi_head.bbox_head.shared_fcs.1', (0, 0)),
        ('roi_head', (0, 0)),
    ],
)
def test_a_path_says_its_stage_in_a_cascade_alone(detectors, path, stages):
    assert tuple(stage_of_path(each, path) for each in detectors) == stages


def test_standard_and_cascade_heads_pass(detectors):
    for model in detectors:
        for whose in ('student', 'teacher'):
            check_roi_head(model, LOGITS, whose)
            check_branches(model, whose)


class OwnProposals(nn.Module):
    """Scores proposals that it makes, not any RoI."""

    def __init__(self, box_head):
        super().__init__()
        self.bbox_head = box_head

    def _bbox_forward(self, x, rois, proposals, *, further=None):
        raise AssertionError('it is only looked at')


def test_heads_of_other_rows_or_scores_are_named(detectors, monkeypatch):
    faster, _ = detectors
    box_head = faster.roi_head.bbox_head
    other = SimpleNamespace(roi_head=OwnProposals(box_head))
    with pytest.raises(ValueError, match=r'teacher \(OwnPro.*of its own'):
        check_roi_head(other, LOGITS, 'teacher')
    monkeypatch.setattr(
        type(box_head.loss_cls), 'custom_cls_channels', True, raising=False
    )
    with pytest.raises(ValueError, match='has CrossEntropyLoss, whose scores'):
        check_roi_head(faster, LOGITS, 'student')
    check_roi_head(faster, Signal('roi.feats', 'roi', 'feats'), 'student')


class Hard:
    """Runs the box head to choose RoIs."""

    bbox_head = object()


class Combined:
    def __init__(self, positive, negative):
        self.pos_sampler, self.neg_sampler = positive, negative


INSIDE = Signal('roi_head.x', 'roi', path='roi_head.x')


@pytest.mark.parametrize(
    'sampler',
    [Hard(), [object(), Hard()], Combined(object(), Hard())],
    ids=['alone', 'in a stage', 'combined'],
)
def test_a_sampler_that_runs_the_head_gives_it_other_rows(sampler):
    model = SimpleNamespace(roi_head=SimpleNamespace(bbox_sampler=sampler))
    check_sampler('loss_x', model, [LOGITS])  # not what lies inside
    with pytest.raises(ValueError, match="loss_x: 'roi_head.x' lies inside"):
        check_sampler('loss_x', model, [LOGITS, INSIDE])


def test_a_sampler_that_is_its_own_part_ends():
    own = Combined(None, None)
    own.pos_sampler = own.neg_sampler = own
    for sampler in (own, None, object()):
        roi_head = SimpleNamespace(bbox_sampler=sampler)
        check_sampler('x', SimpleNamespace(roi_head=roi_head), [INSIDE])


def with_sampler(kind, sampler):
    """A detector of which the first stage has a sampler of this type."""
    model = tiny.detector(kind)
    rcnn = model.train_cfg.rcnn
    for stage in rcnn if isinstance(rcnn, list) else [rcnn]:
        stage.sampler.type = sampler
        stage.sampler.pop('add_gt_as_proposals', None)
    return model


@pytest.mark.parametrize('kind', ['faster', 'cascade'])
@pytest.mark.parametrize('sampler', ['OHEMSampler', 'ScoreHLRSampler'])
def test_a_path_inside_of_a_head_that_the_sampler_runs(kind, sampler):
    path = 'roi_head.bbox_head.shared_fcs.0'
    if kind == 'cascade':
        path = 'roi_head.bbox_head.0.shared_fcs.0'
    loss = dict(type='luminet_mm.PKTLoss', signal=path)
    config = tiny.distiller(with_sampler(kind, sampler), tiny.detector(kind))
    config.distill = dict(loss_inside=loss)
    with pytest.raises(ValueError, match=f'which {sampler} runs as well'):
        tiny.build(config)


def test_the_logits_of_hard_examples_are_distilled():
    config = tiny.distiller(with_sampler('faster', 'OHEMSampler'))
    config.distill = dict(
        loss_logits=dict(type='luminet_mm.KDLoss', signal='roi.cls_score'),
        loss_feats=dict(type='luminet_mm.FitNetLoss', signal='roi.feats'),
    )
    model = tiny.build(config)
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_logits'] > 0 and losses['loss_feats'] > 0


@pytest.mark.parametrize(
    'signal', ['roi.cls_score', 'roi_head.bbox_head.fc_cls']
)
@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_crowddet(signal, whose):
    crowd = get_config(
        'mmdet::crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py'
    ).model
    plain = tiny.detector(num_classes=1)
    for key in ('backbone', 'neck', 'rpn_head'):
        crowd[key] = copy.deepcopy(plain[key])
    crowd.roi_head.bbox_roi_extractor.out_channels = 16
    crowd.roi_head.bbox_head.update(in_channels=16, fc_out_channels=32)
    names = dict(student=plain, teacher=tiny.detector(num_classes=1))
    names[whose] = crowd
    if 'fc_cls' in signal:
        signal = 'roi_head.bbox_head.shared_fcs.0'
    loss = dict(type='luminet_mm.PKTLoss', signal=signal)
    if whose == 'teacher':
        loss = dict(loss, student='roi.feats', teacher=signal)
        del loss['signal']
    with pytest.raises(ValueError, match='predicts several objects for each'):
        tiny.build(tiny.distiller(**names, loss_kd=loss))


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_pisa(whose):
    pisa = tiny.detector()
    pisa.roi_head.type = 'PISARoIHead'
    pisa.train_cfg.rcnn.sampler = dict(
        type='ScoreHLRSampler', num=32, pos_fraction=0.25, neg_pos_ub=-1
    )
    if whose == 'student':
        with pytest.raises(ValueError, match='computes its box loss itself'):
            tiny.build(tiny.distiller(pisa))
        return
    model = tiny.build(tiny.distiller(teacher=pisa))
    data = tiny.prepared(model)
    assert model.loss(data['inputs'], data['data_samples'])['loss_luminet'] > 0


def test_tridentnet(monkeypatch):
    init = TridentConv.__init__

    def defined(self, *args, **kwargs):
        init(self, *args, **kwargs)
        torch.nn.init.normal_(self.weight, std=0.01)

    # it leaves its weight as memory was, at times NaN
    monkeypatch.setattr(TridentConv, '__init__', defined)
    trident = get_config('mmdet::tridentnet/tridentnet_r50-caffe_1x_coco.py')
    trident = trident.model
    trident.backbone.init_cfg = None
    trident.roi_head.bbox_head.num_classes = 4
    with pytest.raises(ValueError, match='student has the backbone Trident'):
        student = copy.deepcopy(trident)
        student.roi_head.type = 'StandardRoIHead'
        for key in ('num_branch', 'test_branch_idx'):
            student.roi_head.pop(key)
        tiny.build(tiny.distiller(student))
    every = copy.deepcopy(trident)
    every.backbone.test_branch_idx = every.roi_head.test_branch_idx = -1
    with pytest.raises(ValueError, match='teacher has .* test_branch_idx=1'):
        tiny.build(tiny.distiller(teacher=every))
    model = tiny.build(tiny.distiller(teacher=trident))
    data = tiny.prepared(model)
    assert model.loss(data['inputs'], data['data_samples'])['loss_luminet'] > 0


def seesaw():
    """Columns for classes, and two for object and background."""
    model = tiny.detector()
    model.roi_head.bbox_head.loss_cls = dict(
        type='SeesawLoss', p=0.8, q=2.0, num_classes=4
    )
    return model


def sparse():
    """One stage of Sparse R-CNN."""
    name = 'mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py'
    model = copy.deepcopy(get_config(name).model)
    model.backbone.update(depth=18, init_cfg=None)
    model.neck.in_channels = [64, 128, 256, 512]
    head = model.roi_head
    head.update(
        num_stages=1, stage_loss_weights=[1], bbox_head=head.bbox_head[:1]
    )
    head.bbox_head[0].num_classes = 4
    return model


STAGE = dict(
    loss_kd=dict(
        type='luminet_mm.KDLoss',
        student='roi.cls_score',
        teacher='roi.0.cls_score',
    )
)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (
            tiny.distiller(seesaw(), seesaw()),
            "'roi.cls_score': the RoI head of the student .*SeesawLoss, whose",
        ),
        (
            tiny.distiller(teacher=seesaw()),
            'the RoI head of the teacher .*SeesawLoss, whose scores',
        ),
        (
            tiny.distiller(teacher=sparse(), **STAGE),
            'teacher .SparseRoIHead. scores proposals of its own',
        ),
    ],
)
def test_scores_that_are_not_of_one_softmax_or_not_of_any_roi(config, message):
    with pytest.raises(ValueError, match=message):
        tiny.build(config)
