"""Scores of detections: AP by class, and one number for each image."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Least scores that are tried for the pictures.
THRESHOLDS = np.arange(0.05, 0.96, 0.05)


@dataclass
class BoxScores:
    """How good a model's boxes are.

    Attributes:
        metrics: COCO's, under the names of the log; NaN without objects.
        by_class: AP of each class; NaN for one without objects.
        threshold: The least score at which F1 over all images is highest.
        counts: For each image found, missed and false boxes at an IoU of
            0.5 and this threshold, ``(N, 3)``.
    """

    metrics: dict[str, float]
    by_class: list[float]
    threshold: float
    counts: np.ndarray

    def f1(self) -> np.ndarray:
        """F1 of each image; 1 where nothing is there and nothing found."""
        found, missed, false = self.counts.T
        below = 2 * found + missed + false
        return np.where(below, 2 * found / np.maximum(below, 1), 1.0)


def score_boxes(
    truth: Sequence[Sequence[dict]],
    predictions: Sequence[Any],
    classes: int,
) -> BoxScores:
    """Evaluate detections with pycocotools.

    Args:
        truth: For each image its objects: ``bbox`` (x1, y1, x2, y2),
            ``bbox_label`` and perhaps ``ignore_flag``.
        predictions: For each image ``bboxes``, ``labels`` and ``scores``.
        classes: How many there are.
    """
    rows = [
        _row(i, each['bbox'], each['bbox_label'], each.get('ignore_flag', 0))
        for i, objects in enumerate(truth)
        for each in objects
    ]
    found = [
        dict(_row(i, box, label, 0), score=float(score))
        for i, each in enumerate(predictions)
        for box, label, score in zip(
            np.asarray(each.bboxes),
            np.asarray(each.labels),
            np.asarray(each.scores),
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(
            _coco(rows, len(truth), classes),
            _coco(found, len(truth), classes),
            'bbox',
        )
        judge.evaluate()
        judge.accumulate()
    # (IoU, recall, class, area, detections)
    precision = judge.eval['precision'][..., -1]
    parts = {
        'mAP': precision[..., 0],
        'mAP_50': precision[0, ..., 0],
        'mAP_75': precision[5, ..., 0],
        'mAP_s': precision[..., 1],
        'mAP_m': precision[..., 2],
        'mAP_l': precision[..., 3],
    }
    counts = _counts(judge, len(truth), classes)
    best = int(np.argmax([_total_f1(each) for each in counts]))
    return BoxScores(
        metrics={f'coco/bbox_{k}': _mean(each) for k, each in parts.items()},
        by_class=[_mean(precision[:, :, k, 0]) for k in range(classes)],
        threshold=float(THRESHOLDS[best]),
        counts=counts[best],
    )


def _row(image: int, box: Any, label: Any, crowd: int) -> dict:
    x, y, right, bottom = (float(value) for value in box)
    width, height = right - x, bottom - y
    return dict(
        image_id=image,
        category_id=int(label),
        bbox=[x, y, width, height],
        area=width * height,
        iscrowd=int(crowd),
    )


def _coco(rows: list[dict], images: int, classes: int) -> COCO:
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=i) for i in range(images)],
        categories=[dict(id=k, name=str(k)) for k in range(classes)],
        # an id of 0 would read as "not matched"
        annotations=[dict(row, id=n) for n, row in enumerate(rows, 1)],
    )
    coco.createIndex()
    return coco


def _counts(judge: COCOeval, images: int, classes: int) -> np.ndarray:
    """Found, missed and false boxes, ``(thresholds, images, 3)``."""
    counts = np.zeros((len(THRESHOLDS), images, 3), int)
    areas = len(judge.params.areaRng)
    for k in range(classes):
        for i in range(images):
            # of all sizes; None where the class is neither there nor found
            each = judge.evalImgs[(k * areas) * images + i]
            if each is None:
                continue
            matched = np.asarray(each['dtMatches'][0]) > 0  # IoU 0.5
            counted = ~np.asarray(each['dtIgnore'][0], bool)
            scores = np.asarray(each['dtScores'])
            objects = int((~np.asarray(each['gtIgnore'], bool)).sum())
            for t, least in enumerate(THRESHOLDS):
                kept = counted & (scores >= least)
                found = int((kept & matched).sum())
                counts[t, i] += (
                    found,
                    objects - found,
                    int(kept.sum()) - found,
                )
    return counts


def _total_f1(counts: np.ndarray) -> float:
    found, missed, false = counts.sum(axis=0)
    return 2 * found / max(1, 2 * found + missed + false)


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float('nan')
