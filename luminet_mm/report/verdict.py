"""One sentence on whether distillation gained, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from luminet_mm.report.metrics import (
    signed,
    spread,
    title_of,
    unit_of,
)

LEVEL = 0.05  # below, a difference is called one
METHOD = (
    'p is the two-sided permutation test of the difference of means, exact up '
    'to 10 runs each '
    '(scipy.stats.permutation_test): the share of all ways to deal the runs '
    'out to the two groups that differ at least as much. The interval is '
    "Welch's (scipy.stats.ttest_ind). A difference is called one below "
    f'p = {LEVEL:g}.'
)


@dataclass(frozen=True)
class Comparison:
    """Results of distilled runs against those of the student alone.

    Attributes:
        distilled: The metric at the end of each run.
        alone: The same for the student alone.
    """

    distilled: Sequence[float]
    alone: Sequence[float]

    @property
    def gain(self) -> float:
        """The difference of means."""
        return statistics.fmean(self.distilled) - statistics.fmean(self.alone)

    @cached_property
    def p(self) -> float:
        """Two-sided, exact; 1 with one run on either side."""
        if min(len(self.distilled), len(self.alone)) < 2:
            return 1.0
        runs = len(self.distilled) + len(self.alone)
        exact = math.comb(runs, len(self.alone)) <= 200_000
        result = stats.permutation_test(
            (np.asarray(self.distilled), np.asarray(self.alone)),
            lambda x, y, axis: np.mean(x, axis) - np.mean(y, axis),
            vectorized=True,
            n_resamples=np.inf if exact else 99_999,
        )
        return float(result.pvalue)

    @property
    def least_p(self) -> float:
        """The smallest p that so many runs can have."""
        runs = len(self.distilled) + len(self.alone)
        return min(1.0, 2 / math.comb(runs, len(self.alone)))

    @property
    def apart(self) -> bool:
        """Whether each run of one side is above each of the other."""
        return min(self.distilled) > max(self.alone) or max(
            self.distilled
        ) < min(self.alone)

    @property
    def kind(self) -> str:
        """``better``, ``worse``, ``open``, or ``one`` run on a side."""
        if min(len(self.distilled), len(self.alone)) < 2:
            return 'one'
        if self.p >= LEVEL:
            return 'open'
        return 'better' if self.gain > 0 else 'worse'

    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the gain; None if it is not known."""
        if min(len(self.distilled), len(self.alone)) < 2 or (
            len({*self.distilled}) == len({*self.alone}) == 1
        ):
            return None
        test = stats.ttest_ind(self.distilled, self.alone, equal_var=False)
        low, high = test.confidence_interval(0.95)
        return float(low), float(high)


def sentence(
    found: Comparison, metric: str, distilled: str, alone: str
) -> str:
    """The verdict.

    Args:
        found: The results.
        metric: What they measure.
        distilled: What the distilled runs are called.
        alone: What the student alone is called.
    """
    gain = signed(abs(found.gain), metric).lstrip('+')
    if float(gain) == 0:
        where = f'ends level with {alone} in {title_of(metric)}'
    else:
        where = f'ends {gain} {unit_of(metric)} '
        where += f'{"above" if found.gain > 0 else "below"} {alone}'
    if found.kind == 'one' and len(found.distilled) == len(found.alone):
        ours, theirs = (
            spread(each, metric) for each in (found.distilled, found.alone)
        )
        return (
            f'{distilled} {where} ({ours} against {theirs}, one run each). '
            'One run of each cannot tell that from chance: train more seeds.'
        )
    sides = _side(found.distilled, metric), _side(found.alone, metric)
    claim = f'{distilled} {where} ({" against ".join(sides)})'
    if found.kind == 'one':
        which = alone if len(found.alone) < 2 else distilled
        return (
            f'{claim}. One run of {which} cannot tell that from chance: train '
            'more seeds.'
        )
    shown = f'p = {found.p:.3f}' if found.p >= 0.001 else 'p < 0.001'
    each = ''
    if found.apart:
        side = 'above' if found.gain > 0 else 'below'
        each = f'; each run is {side} each run of {alone}'
    if found.kind == 'open' and found.least_p >= LEVEL:
        few = f'so few runs cannot settle it ({shown}, and '
        few += f'{found.least_p:.2f} is the least that they could show)'
        return f'{claim}{each}, but {few}: train more seeds.'
    if found.kind == 'open':
        return (
            f'{claim}, but the runs cannot tell them apart ({shown}): seeds '
            'differ by more than that.'
        )
    interval = found.interval()
    between = 'no spread between seeds'
    if interval is not None:
        ends = (signed(each, metric) for each in interval)
        between = f'95 % interval {" to ".join(ends)}'
    return f'{claim}{each} ({shown}, {between}).'


def _side(values: Sequence[float], metric: str) -> str:
    runs = 'in 1 run' if len(values) == 1 else f'over {len(values)} runs'
    return f'{spread(values, metric)} {runs}'
