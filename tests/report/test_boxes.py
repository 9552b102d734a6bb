"""Scores of boxes: COCO's numbers, and found, missed and false boxes."""

import math

import numpy as np
import pytest
from mmengine.structures import InstanceData

from luminet_mm.report.boxes import score_boxes

AP = 'coco/bbox_mAP'
BOX, FAR = [10, 10, 50, 50], [100, 100, 140, 140]


def found(*rows):
    boxes, labels, scores = zip(*rows) if rows else ([], [], [])
    return InstanceData(
        bboxes=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, int),
        scores=np.array(scores, float),
    )


def truth(*rows):
    return [dict(bbox=box, bbox_label=k, ignore_flag=0) for box, k in rows]


def test_perfect_boxes():
    score = score_boxes([truth((BOX, 0))], [found((BOX, 0, 0.9))], 2)
    assert score.metrics[AP] == pytest.approx(1) == score.by_class[0]
    assert math.isnan(score.by_class[1])
    assert score.metrics['coco/bbox_mAP_m'] == pytest.approx(1)
    assert math.isnan(score.metrics['coco/bbox_mAP_l'])
    assert score.counts.tolist() == [[1, 0, 0]]
    assert score.f1().tolist() == [1]


def test_found_missed_and_false():
    objects = [truth((BOX, 0), (FAR, 0)), truth((BOX, 1)), truth()]
    predictions = [
        found((BOX, 0, 0.9), (FAR, 1, 0.8)),  # one of the wrong class
        found((BOX, 1, 0.7), (BOX, 1, 0.6)),  # one of them twice
        found(),
    ]
    score = score_boxes(objects, predictions, 2)
    # without the second of the doubled boxes, F1 is highest
    assert score.threshold == pytest.approx(0.6)
    assert score.counts.tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert score.f1() == pytest.approx([0.5, 1, 1])
    # the first class is found half, the second one behind a false box
    assert score.metrics['coco/bbox_mAP_50'] == pytest.approx(0.5, abs=0.01)


def test_each_model_has_its_own_threshold():
    objects = [truth((BOX, 0))]
    shy = score_boxes(objects, [found((BOX, 0, 0.11))], 1)
    assert shy.threshold <= 0.11 and shy.f1().tolist() == [1]


def test_no_boxes_at_all():
    score = score_boxes([truth((BOX, 0))], [found()], 1)
    assert score.metrics[AP] == 0 and score.counts.tolist() == [[0, 1, 0]]
    nothing = score_boxes([truth()], [found()], 1)
    assert math.isnan(nothing.metrics[AP])
    assert nothing.f1().tolist() == [1]


def test_crowds_are_not_counted():
    crowd = [dict(bbox=BOX, bbox_label=0, ignore_flag=1)]
    score = score_boxes([crowd], [found((BOX, 0, 0.9))], 1)
    assert score.counts.tolist() == [[0, 0, 0]]
