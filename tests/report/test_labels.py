"""Scores of classifiers."""

import math

import pytest
import torch
from mmpretrain.structures import DataSample

from luminet_mm.report.labels import score_labels

ROWS = [
    (0, [0.7, 0.2, 0.1]),
    (0, [0.1, 0.6, 0.3]),
    (1, [0.2, 0.5, 0.3]),
    (1, [0.5, 0.4, 0.1]),
]


def sample(label, scores):
    return (
        DataSample().set_gt_label(label).set_pred_score(torch.tensor(scores))
    )


def test_shares_and_confusions():
    score = score_labels([sample(*row) for row in ROWS])
    assert score.right.tolist() == [True, False, True, False]
    assert (score.top(1), score.top(2)) == (50, 75)
    assert score.top(5) == 100  # of three classes
    first, second, third = score.by_class()
    assert (first, second) == (50, 50) and math.isnan(third)
    assert score.confused() == {(0, 1): 1, (1, 0): 1}
    assert score.of_truth().tolist() == pytest.approx([0.7, 0.1, 0.5, 0.4])


@pytest.mark.parametrize('labels', [[0, 1], None])
def test_other_labels_are_refused(labels):
    odd = DataSample().set_pred_score(torch.ones(3))
    if labels:
        odd.set_gt_label(labels)
    with pytest.raises(ValueError, match='do not have one label each'):
        score_labels([odd])
