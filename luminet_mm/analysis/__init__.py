"""Compare a student's logits with its teacher's."""

from luminet_mm.analysis.costs import read_runs
from luminet_mm.analysis.pair import LogitPair, boxes_in_view, roi_labels
from luminet_mm.analysis.plots import (
    draw_parameters,
    draw_reliability,
    draw_similarity,
)
from luminet_mm.analysis.rows import SIDES, AnalysisError
from luminet_mm.analysis.statistics import PairStatistics
from luminet_mm.timing.step import count_parameters

__all__ = [
    'SIDES',
    'AnalysisError',
    'LogitPair',
    'PairStatistics',
    'boxes_in_view',
    'count_parameters',
    'draw_parameters',
    'draw_reliability',
    'draw_similarity',
    'read_runs',
    'roi_labels',
]
