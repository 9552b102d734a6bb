"""Models that cannot be distilled say why, before anything is trained."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from mmdet.apis import init_detector
from mmdet.models.backbones.trident_resnet import TridentConv
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmpretrain import ImageClassificationInferencer

LOGITS = dict(type='luminet_mm.KDLoss', signal='roi.cls_score')
INSIDE = dict(type='luminet_mm.FitNetLoss', signal='roi_head.bbox_head.fc_cls')


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
        loss_logits=LOGITS,
        loss_feats=dict(type='luminet_mm.FitNetLoss', signal='roi.feats'),
    )
    model = tiny.build(config)
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_logits'] > 0 and losses['loss_feats'] > 0


@pytest.mark.parametrize('signal', ['roi.cls_score', INSIDE['signal']])
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


@pytest.mark.parametrize(
    ('block', 'what'),
    [
        ('semantic_head', 'PanopticFPN'),
        ('bbox_head', 'a one-stage detector or a DETR'),
        ('mask_head', 'without RoIs'),
    ],
)
def test_detectors_of_another_kind(block, what):
    student = tiny.detector()
    student[block] = dict(type='Any')
    with pytest.raises(ValueError, match=f'has no {block}, which .*{what}'):
        tiny.build(tiny.distiller(student))


def test_panoptic_fpn_teaches():
    cfg = get_config('mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py')
    plain = tiny.detector('mask', width=12)
    panoptic = cfg.model
    for key in ('backbone', 'neck', 'rpn_head', 'roi_head'):
        panoptic[key] = plain[key]
    panoptic.data_preprocessor = plain.data_preprocessor
    panoptic.semantic_head.update(in_channels=16, inner_channels=32)
    model = tiny.build(tiny.distiller(teacher=panoptic))
    data = tiny.prepared(model)
    assert model.loss(data['inputs'], data['data_samples'])['loss_luminet'] > 0


@pytest.fixture
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def conformer():
    model = tiny_cls.classifier()
    model['backbone'] = dict(
        type='mmpretrain.Conformer',
        arch=dict(embed_dims=48, channel_ratio=1, num_heads=2, depths=12),
        base_channels=64,
    )
    model['neck'] = None
    model['head'] = dict(
        type='mmpretrain.ConformerHead',
        num_classes=5,
        in_channels=[256, 48],
        loss=dict(type='CrossEntropyLoss'),
    )
    return model


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_two_logits_of_a_conformer(scope, whose):
    models = {whose: conformer()}
    with pytest.raises(ValueError, match='two logits, .*head.conv_cls_head'):
        tiny_cls.build(tiny_cls.distiller(**models))


def test_one_of_its_logits(scope):
    loss = dict(
        type='luminet_mm.KDLoss',
        student='logits',
        teacher='head.trans_cls_head',
    )
    model = tiny_cls.build(
        tiny_cls.distiller(teacher=conformer(), loss_kd=loss)
    )
    data = tiny_cls.prepared(model, size=64, num_images=2)
    assert model.loss(data['inputs'], data['data_samples'])['loss_kd'] > 0


def test_heads_of_tasks_and_numbers(scope):
    model = tiny_cls.classifier()
    model['head'] = dict(
        type='mmpretrain.MultiTaskHead',
        task_heads=dict(one=dict(model['head'])),
    )
    with pytest.raises(ValueError, match='logits of several tasks'):
        tiny_cls.build(tiny_cls.distiller(teacher=model))


@pytest.mark.parametrize('what', ['config', 'checkpoint'])
def test_who_predicts_needs_no_teacher(what, tmp_path):
    config = tiny.distiller()
    config.teacher[what] = str(tmp_path / 'not_here')
    with pytest.raises(FileNotFoundError, match='needs no teacher: .*publish'):
        init_detector(Config(dict(model=config)), device='cpu')


def test_an_inferencer_needs_no_teacher(scope, tmp_path):
    config = tiny_cls.distiller()
    config['teacher']['checkpoint'] = str(tmp_path / 'not_here.pth')
    path = tmp_path / 'config.py'
    Config(dict(model=config)).dump(path)
    with pytest.raises(FileNotFoundError, match='needs no teacher: .*publish'):
        ImageClassificationInferencer(str(path), pretrained=False)
