"""Two-stage detectors: names, a recorded pass, RoIs that a teacher scores."""

import pytest
import tiny
import torch
from mmengine.hub import get_config
from signals.contract import FamilyContract

from luminet_mm.signals.family import Comparison, Question
from luminet_mm.signals.roi_heads import bbox_heads
from luminet_mm.signals.two_stage import SIDES, TwoStage

FAMILY = TwoStage()


@pytest.fixture(scope='module')
def detectors():
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        return {
            kind: tiny.build(tiny.detector(kind))
            for kind in ('faster', 'cascade')
        }


def find(model, *names):
    return [FAMILY.find(model, name, 'student') for name in names]


def test_a_cascade_publishes_each_stage(detectors):
    outer = ['backbone', 'neck', 'rpn.cls_score', 'rpn.bbox_pred']
    outer += ['rpn.objectness', 'rpn.deltas']
    inner = ['feats', 'cls_score', 'bbox_pred']
    faster, cascade = (FAMILY.names(detectors[k]) for k in detectors)
    assert faster == outer + [f'roi.{part}' for part in inner]
    assert cascade == outer + [
        f'roi.{stage}.{part}' for stage in range(3) for part in inner
    ]


@pytest.mark.parametrize(
    ('kind', 'name', 'found'),
    [
        ('faster', 'neck', ('neck', '', 0, '')),
        ('faster', 'rpn.cls_score', ('rpn', 'cls_score', 0, '')),
        ('faster', 'roi.feats', ('roi', 'feats', 0, '')),
        ('cascade', 'roi.2.cls_score', ('roi', 'cls_score', 2, '')),
        ('faster', 'backbone.layer2', ('backbone', '', 0, 'backbone.layer2')),
        (
            'cascade',
            'roi_head.bbox_head.1.shared_fcs.0',
            ('roi', '', 1, 'roi_head.bbox_head.1.shared_fcs.0'),
        ),
    ],
)
def test_a_name_leads_to_its_place(detectors, kind, name, found):
    (signal,) = find(detectors[kind], name)
    assert signal.name == name
    assert (signal.part, signal.field, signal.stage, signal.path) == found


@pytest.mark.parametrize(
    ('kind', 'name', 'hint'),
    [
        ('cascade', 'roi.cls_score', 'It is a cascade: name the stage'),
        ('faster', 'roi.cls_scor', "Did you mean 'roi.cls_score'"),
        ('faster', 'train_cfg', 'It publishes backbone, neck'),
    ],
)
def test_other_names_are_refused_with_a_hint(detectors, kind, name, hint):
    with pytest.raises(ValueError, match=f'no signal {name!r}.*{hint}'):
        find(detectors[kind], name)


def test_only_class_scores_are_logits(detectors):
    model = detectors['cascade']
    for name, activation in (
        ('roi.1.cls_score', 'softmax'),
        ('roi.1.bbox_pred', ''),
        ('rpn.cls_score', ''),
        ('neck', ''),
    ):
        assert FAMILY.activation(model, find(model, name)) == activation
    assert FAMILY.num_classes(model, find(model, 'roi.1.cls_score')) == 4
    published = {*FAMILY.names(detectors['faster']), 'roi.mask'}
    assert set(FAMILY.usual.values()) <= published


def test_signals_that_have_no_rows_in_common(detectors):
    model = detectors['cascade']
    with pytest.raises(ValueError, match='loss_x: a list .* one RoI stage'):
        both = find(model, 'roi.0.feats', 'roi.1.feats')
        FAMILY.check('loss_x', model, both, model, both)
    with pytest.raises(ValueError, match="and 'neck' has none"):
        FAMILY.check(
            'loss_x',
            model,
            find(model, 'neck'),
            model,
            find(model, 'roi.0.feats'),
        )


@pytest.mark.parametrize('kind', ['faster', 'cascade'])
def test_a_model_answers_about_its_own_rows_what_it_said(detectors, kind):
    """Row i of an answer is row i of the record."""
    model = detectors[kind]
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    names = ['neck', 'rpn.bbox_pred', 'roi.cls_score', 'roi.bbox_pred']
    if kind == 'cascade':
        names = [name.replace('roi.', 'roi.1.') for name in names]
    signals = find(model, *names)
    data = tiny.prepared(model)
    images, samples = data['inputs'], data['data_samples']
    with FAMILY.record(model, signals, images, samples) as record:
        losses = model.loss(images, samples)
    assert sum(losses['loss_rpn_cls']) > 0  # the stock pass, whole
    questions = [
        Question(signals[:1], signals[:1]),
        Question(signals[1:2], signals[1:2]),
        Question(signals[2:], signals[2:]),
    ]
    with torch.no_grad():
        ahead = FAMILY.ahead(model, images, signals)
        maps, deltas, roi = FAMILY.answer(model, ahead, questions, record)
    torch.testing.assert_close(tuple(maps), tuple(record.read(signals[0])))
    torch.testing.assert_close(
        list(deltas), [x.detach() for x in record.read(signals[1])]
    )
    for said, recorded in zip(roi, record.value(signals[2:]), strict=True):
        torch.testing.assert_close(said, recorded.detach(), atol=1e-5, rtol=0)
    batch = record.batch(signals[2:])
    assert len(batch.labels) == len(roi[0]) == len(batch.rois)
    assert batch.background == batch.no_object == 4
    for head in bbox_heads(model):
        assert 'loss_and_target' not in vars(head)


def test_what_is_known_of_maps_is_of_images(detectors):
    model = detectors['faster']
    (neck,) = signals = find(model, 'neck')
    data = tiny.prepared(model)
    images, samples = data['inputs'], data['data_samples']
    with FAMILY.record(model, signals, images, samples) as record:
        model.loss(images, samples)
    batch = record.batch(signals)
    assert [len(each) for each in batch.boxes] == [3, 3]
    assert batch.image_shapes == [(64, 64), (64, 48)]
    assert batch.input_shape == (64, 64)
    sizes = [tuple(level.shape[-2:]) for level in record.read(neck)]
    anchors = batch.priors(sizes)
    assert [len(each) for each in anchors] == [3 * h * w for h, w in sizes]


def test_a_cascade_without_rois_has_all_its_stages(detectors, monkeypatch):
    """Its later stages do not run; their losses must still take part."""
    model = detectors['cascade']
    signals = find(model, 'roi.2.cls_score')
    data = tiny.prepared(model)
    images, samples = data['inputs'], data['data_samples']
    with FAMILY.record(model, signals, images, samples) as record:
        model.loss(images, samples)
    assert set(record.stages) == {0, 1, 2}
    first = record.stages[0]
    first.rois = first.rois[:0]
    with FAMILY.record(model, signals, images, samples) as record:
        record.stages[0] = first
    assert record.stages[2] is record.stages[1] is first


def test_noise_is_asked_about_one_roi_of_each_image(detectors):
    model = detectors['faster'].eval()
    signals = find(model, 'roi.cls_score', 'neck')
    questions = [Question([each], [each]) for each in signals]
    with torch.no_grad():
        logits, maps = FAMILY.dry(model, questions, torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 5)
    assert len(maps) == 5 and len(maps[0]) == 2
    assert FAMILY.sizes([model]) == [(side, side) for side in SIDES]
    for height, width in FAMILY.speed_sizes([model]):
        assert height in SIDES and height != width and width % 32 == 0
    model.train()


RETINA = dict(
    type='RetinaNet',
    backbone=tiny.detector().backbone,
    neck=tiny.detector().neck,
    bbox_head=dict(type='RetinaHead', num_classes=4, in_channels=16),
)


def test_signals_of_every_part():
    signals = (
        'backbone',
        'neck',
        'rpn.cls_score',
        'rpn.bbox_pred',
        'roi.feats',
        'roi.cls_score',
        'roi.bbox_pred',
        'backbone.layer3.1.conv2',
        'neck.fpn_convs.1',
        'roi_head.bbox_head.shared_fcs.1',
    )
    same = tiny.detector()
    cfg = tiny.distiller(
        tiny.detector(),
        same,
        **{
            f'loss_{index}': dict(type='luminet_mm.KDLoss', signal=signal)
            for index, signal in enumerate(signals)
        },
    )
    cfg.teacher.fold_bn = False
    model = tiny.build(cfg)
    model.teacher.model.load_state_dict(model.state_dict())
    seen = {}
    for index, signal in enumerate(signals):
        model.distill[f'loss_{index}'].forward = (
            lambda s, t, b, signal=signal: (
                seen.update({signal: (s, t)})
                or model.backbone.conv1.weight.sum()
            )
        )
    data = tiny.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    assert list(seen) == list(signals)
    for name, (student, teacher) in seen.items():
        if isinstance(student, torch.Tensor):
            student, teacher = [student], [teacher]
        assert len(student) == len(teacher) > 0
        for one, other in zip(student, teacher):
            assert one.requires_grad and not other.requires_grad
            torch.testing.assert_close(one, other, msg=name)


def test_cascade_teacher_of_a_faster_student():
    model = tiny.build(
        tiny.distiller(
            tiny.detector(),
            tiny.detector('cascade'),
            loss_luminet=dict(
                type='luminet_mm.LumiNetLoss',
                student='roi.cls_score',
                teacher='roi.2.cls_score',
            ),
        )
    )
    losses, _ = tiny.step(model)
    assert losses['loss_luminet'].item() > 0


def test_faster_teacher_of_each_cascade_stage():
    model = tiny.build(
        tiny.distiller(
            tiny.detector('cascade'),
            tiny.detector(),
            **{
                f'loss_{stage}': dict(
                    type='luminet_mm.KDLoss',
                    student=f'roi.{stage}.cls_score',
                    teacher='roi.cls_score',
                )
                for stage in range(3)
            },
        )
    )
    losses, _ = tiny.step(model)
    values = {losses[f'loss_{stage}'].item() for stage in range(3)}
    assert len(values) == 3 and 0 not in values, 'each stage its own RoIs'


def test_a_module_that_does_not_run_is_named():
    model = tiny.build(
        tiny.distiller(
            loss_x=dict(type='luminet_mm.KDLoss', signal='roi_head.bbox_head')
        )
    )
    model.roi_head.bbox_head.register_module('spare', torch.nn.ReLU())
    signal = model.family.find(model, 'roi_head.bbox_head.spare', 'student')
    theirs = model.comparisons['loss_x'].teachers
    model.comparisons['loss_x'] = Comparison('loss_x', [signal], theirs)
    with pytest.raises(RuntimeError, match="head.spare': that module did not"):
        tiny.step(model)


@pytest.mark.parametrize('kind', ['faster', 'cascade'])
def test_no_rois_at_all(kind, monkeypatch):
    """A cascade then breaks off; its further losses are still there."""
    model = tiny.of_logits(kind)
    data = tiny.prepared(model)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    predict = model.rpn_head.predict_by_feat
    monkeypatch.setattr(
        model.rpn_head,
        'predict_by_feat',
        lambda *args, **kwargs: [
            result[:0] for result in predict(*args, **kwargs)
        ],
    )
    losses = model.loss(data['inputs'], data['data_samples'])
    for name in model.distill:
        assert losses[name] == 0
        assert losses[name].requires_grad, 'or the other ranks would wait'
    model.parse_losses(losses)[0].backward()


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


def test_signals_of_two_roi_stages_are_an_error():
    with pytest.raises(ValueError, match='one RoI stage'):
        tiny.build(
            tiny.distiller(
                tiny.detector('cascade'),
                tiny.detector('cascade', width=12),
                loss_x=dict(
                    type='luminet_mm.FitNetLoss',
                    signal=['roi.0.feats', 'roi.1.feats'],
                ),
            )
        )


@pytest.mark.parametrize(
    ('teacher', 'losses', 'message'),
    [
        (
            tiny.detector(num_classes=3),
            {},
            r'student has 4 classes and .*\b3.*num_classes=3',
        ),
        (
            RETINA,
            {},
            r"\(RetinaNet\) has no signal 'roi.cls_score'.*maps alone",
        ),
        (
            tiny.detector(),
            dict(
                loss_x=dict(
                    type='luminet_mm.KDLoss',
                    student='backbone',
                    teacher='roi.feats',
                )
            ),
            "RoIs of the student, and 'backbone' has",
        ),
    ],
)
def test_a_teacher_that_cannot_be_compared(teacher, losses, message):
    with pytest.raises(ValueError, match=message):
        tiny.build(tiny.distiller(teacher=teacher, **losses))


class TestTwoStageContract(FamilyContract):
    family = FAMILY
    kinds = ('mask', 'cascade_mask')
    padded = {'cascade_mask': 64}  # noqa: RUF012

    def config(self, kind, **options):
        return tiny.detector(kind, **options)

    def batch(self, kind, **options):
        return tiny.batch(size=96, masks=True, **options)
