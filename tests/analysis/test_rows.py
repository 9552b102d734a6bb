"""Rows that cannot be compared are refused, and named."""

import math

import pytest
import torch

from luminet_mm.analysis import (
    AnalysisError,
    PairStatistics,
)
from luminet_mm.analysis.rows import check_rows


@pytest.mark.parametrize(
    'arguments, message',
    [
        (([[1.0, 2]], [[1.0, 2, 3]], [0]), 'teacher gives logits.*same class'),
        (([[1.0, 2]], [[1.0, math.nan]], [0]), 'teacher gives NaN or inf'),
        (([[math.inf, 2]], [[1.0, 2]], [0]), 'student gives NaN or inf'),
        (([[1.0, 2]], [[1.0, 2], [3, 4]], [0]), '1 rows.* and 2'),
        (([[1.0, 2]], [[1.0, 2]], [2]), 'labels go from 2 to 2'),
        (([[1.0, 2]], [[1.0, 2]], [-1]), 'labels go from -1'),
    ],
)
def test_what_cannot_be_compared(arguments, message):
    student, teacher, labels = map(torch.tensor, arguments)
    columns = student.shape[1]
    with pytest.raises(AnalysisError, match=message):
        check_rows(student, teacher, labels, columns)
    with pytest.raises(AnalysisError, match=message):
        PairStatistics(columns).update(student, teacher, labels)


@pytest.mark.parametrize('labels', [None, [0, 1], []])
def test_what_can_be_compared(labels):
    logits = torch.randn(2 if labels else 0, 2)
    labels = labels if labels is None else torch.tensor(labels)
    check_rows(logits, -logits, labels, 2)
