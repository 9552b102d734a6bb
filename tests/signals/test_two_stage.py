"""Two-stage detectors: names, a recorded pass, RoIs that a teacher scores."""

import pytest
import tiny
import torch

from luminet_mm.signals.family import Question
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
    assert set(FAMILY.usual.values()) <= set(FAMILY.names(detectors['faster']))


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
