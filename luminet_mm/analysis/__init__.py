"""Compare a student's logits with its teacher's."""

from luminet_mm.analysis.costs import read_runs
from luminet_mm.analysis.pair import LogitPair, measure, roi_labels
from luminet_mm.analysis.plots import (
    draw_parameters,
    draw_reliability,
    draw_similarity,
)
from luminet_mm.analysis.rows import SIDES, AnalysisError
from luminet_mm.analysis.statistics import PairStatistics

__all__ = [
    'SIDES',
    'AnalysisError',
    'LogitPair',
    'PairStatistics',
    'draw_parameters',
    'draw_reliability',
    'draw_similarity',
    'measure',
    'read_runs',
    'roi_labels',
]
