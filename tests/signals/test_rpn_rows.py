"""Rows of the RPN's anchors: the order and targets of the dense family."""

import pytest
import tiny
import torch
from mmdet.models.dense_heads import GARPNHead, RPNHead

from luminet_mm.signals.family import Question
from luminet_mm.signals.rpn_rows import ROWS, check_anchors
from luminet_mm.signals.two_stage import TwoStage

FAMILY = TwoStage()


@pytest.fixture(scope='module')
def model():
    return tiny.build(tiny.detector())


def signals_of(model, *names):
    return [FAMILY.find(model, name, 'student') for name in names or ROWS]


def test_rows_are_those_of_the_maps(model):
    signals = signals_of(model, *ROWS, 'rpn.cls_score', 'rpn.bbox_pred')
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        ((scores, deltas, *maps),) = FAMILY.dry(
            model, [Question(signals, signals)], images
        )
    level, image, anchor, y, x = 0, 1, 2, 3, 5
    height, width = maps[0][level].shape[-2:]
    row = ((image * height + y) * width + x) * 3 + anchor
    assert scores[level][row] == maps[0][level][image, anchor, y, x]
    assert torch.equal(
        deltas[level][row],
        maps[1][level][image, 4 * anchor : 4 * anchor + 4, y, x],
    )
    assert [x.shape[1] for x in (scores[4], deltas[4])] == [1, 4]


def test_labels_and_weights_are_those_of_its_loss(model):
    signals = signals_of(model)
    data = tiny.prepared(model)
    with FAMILY.record(
        model, signals, data['inputs'], data['data_samples']
    ) as record:
        losses = model.loss(data['inputs'], data['data_samples'])
    rows, _ = record.value(signals)
    batch = record.batch(signals)
    points = batch.points
    assert [len(x) for x in points.labels] == [len(x) for x in rows]
    assert batch.no_object == 1 and batch.priors is not None
    labels, weights = torch.cat(points.labels), torch.cat(points.weights)
    assert points.num_pos == (labels == 0).sum() > 0
    # the head's own loss of each level follows, up to its one average factor
    assert weights.sum() == model.rpn_head.train_cfg.sampler.num * 2
    terms = [
        torch.nn.functional.binary_cross_entropy_with_logits(
            level[:, 0], (label == 0).float(), weight, reduction='sum'
        )
        for level, label, weight in zip(rows, points.labels, points.weights)
    ]
    terms, own = torch.stack(terms), torch.stack(losses['loss_rpn_cls'])
    assert own[:3].all()
    torch.testing.assert_close(terms / terms.sum(), own / own.sum())
    assert 'get_targets' not in vars(model.rpn_head)


def test_nothing_is_recorded_of_what_nobody_asks(model):
    signals = signals_of(model, 'rpn.cls_score')
    data = tiny.prepared(model)
    with FAMILY.record(
        model, signals, data['inputs'], data['data_samples']
    ) as record:
        model.loss(data['inputs'], data['data_samples'])
    assert not record.anchors.labels
    assert record.batch(signals).points is None


def test_a_sigmoid_of_one_class(model):
    scores = signals_of(model, 'rpn.objectness')
    assert FAMILY.activation(model, scores) == 'sigmoid'
    assert FAMILY.num_classes(model, scores) == 1
    assert FAMILY.activation(model, signals_of(model, 'rpn.deltas')) == ''
    assert FAMILY.activation(model, signals_of(model, 'rpn.cls_score')) == ''
    config = tiny.detector()
    config.rpn_head.loss_cls.use_sigmoid = False
    other = tiny.build(config)
    assert FAMILY.activation(other, scores) == 'softmax'


def test_other_anchors_and_signals_are_refused(model):
    scores, deltas = ([x] for x in signals_of(model))
    with pytest.raises(ValueError, match="'rpn.objectness' of the student"):
        check_anchors('loss_x', model, scores, model, deltas, 'teacher')
    maps = signals_of(model, 'rpn.cls_score')
    with pytest.raises(ValueError, match='have other rows'):
        check_anchors('loss_x', model, maps, model, scores, 'teacher')
    check_anchors('loss_x', model, maps, model, maps, 'teacher')
    config = tiny.detector()
    config.rpn_head.anchor_generator.scales = [4]
    other = tiny.build(config)
    with pytest.raises(
        ValueError, match=r"priors of a point.*student's rpn_head and pyramid"
    ):
        FAMILY.check('loss_x', model, scores, other, scores)


def test_an_rpn_of_another_make_is_refused_by_name(model):
    twin = tiny.build(tiny.detector())

    class Own(RPNHead):
        def loss_by_feat(self, *args, **kwargs):
            return {}

    for kind in (Own, GARPNHead):
        twin.rpn_head.__class__ = kind
        with pytest.raises(ValueError, match=rf'\({kind.__name__}\) computes'):
            FAMILY.find(twin, 'rpn.objectness', 'student')
