"""Metrics as a reader knows them: names, percent, mean and spread."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence

from luminet_mm.report.runs import ReportError
from luminet_mm.runs.logs import choose_metric
from luminet_mm.runs.metrics import choose, factor_of, scale_of

# In the order of the table.
TITLES = {
    'bbox_mAP': 'AP',
    'bbox_mAP_50': 'AP50',
    'bbox_mAP_75': 'AP75',
    'bbox_mAP_s': 'AP small',
    'bbox_mAP_m': 'AP medium',
    'bbox_mAP_l': 'AP large',
    'segm_mAP': 'mask AP',
    'segm_mAP_50': 'mask AP50',
    'segm_mAP_75': 'mask AP75',
    'segm_mAP_s': 'mask AP small',
    'segm_mAP_m': 'mask AP medium',
    'segm_mAP_l': 'mask AP large',
    'top1': 'top-1',
    'top5': 'top-5',
}
NONE = '–'


def title_of(metric: str) -> str:
    """A metric's short name, such as AP75."""
    return TITLES.get(metric.rpartition('/')[2], metric)


def unit_of(metric: str) -> str:
    """What a difference of it is called."""
    title = title_of(metric)
    if title.startswith('top-'):
        return f'points of {title} accuracy'
    if title.startswith(('AP', 'mask AP')):
        return title
    return f'points of {title}' if scale_of(metric) else title


def digits_of(metric: str) -> int:
    """Decimal places to show."""
    return 1 if scale_of(metric) is not None else 3


def main_metric(logged: Sequence[Sequence[str]], wish: str | None) -> str:
    """The metric that the verdict is about.

    Args:
        logged: The names that each run logged.
        wish: The user's choice.

    Raises:
        ReportError: If no run or not every run has it.
    """
    if not logged:
        raise ReportError(
            'no run has a validation in its log yet, so there is nothing to '
            'compare. A run writes one at the end of an epoch.'
        )
    shared = [n for n in logged[0] if all(n in each for each in logged)]
    try:
        return choose_metric(logged, wish)
    except ValueError as error:
        if wish is None and shared:
            return choose(shared)
        raise ReportError(str(error)) from error


def sort_metrics(names: Sequence[str], main: str) -> list[str]:
    """The metrics of the table: the main one first, and none by class."""
    order = list(TITLES)
    plain = [name for name in names if not class_of(name)]
    return sorted(
        plain,
        key=lambda name: (
            name != main,
            order.index(last)
            if (last := name.rpartition('/')[2]) in TITLES
            # names that are not known come last, as logged
            else len(order) + plain.index(name),
        ),
    )


def class_of(metric: str) -> str:
    """The class that a metric is about, as ``classwise=True`` logs it.

    Examples:
        >>> class_of('coco/cat_precision'), class_of('coco/bbox_mAP')
        ('cat', '')
        >>> class_of('single-label/precision')
        ''
    """
    found = re.fullmatch(r'coco/(.+)_precision', metric)
    return found[1] if found else ''


def number(value: float, metric: str) -> str:
    """A value as shown; COCO's -1 means that there are no such objects."""
    if math.isnan(value) or (scale_of(metric) == 1 and value < 0):
        return NONE
    return f'{factor_of(metric) * value:.{digits_of(metric)}f}'


def spread(values: Sequence[float], metric: str) -> str:
    """Mean ± sample standard deviation; one value as it is.

    Examples:
        >>> spread([0.2, 0.22], 'coco/bbox_mAP')
        '21.0 ± 1.4'
        >>> spread([0.2], 'coco/bbox_mAP'), spread([], 'coco/bbox_mAP')
        ('20.0', '–')
    """
    if not values:
        return NONE
    mean = number(statistics.fmean(values), metric)
    if len(values) < 2 or mean == NONE:
        return mean
    return f'{mean} ± {number(statistics.stdev(values), metric)}'


def percent(value: float) -> str:
    """A fraction in percent.

    Examples:
        >>> percent(0.1234), percent(float('nan'))
        ('12.3', '–')
    """
    return NONE if math.isnan(value) else f'{100 * value:.1f}'


def signed(value: float, metric: str) -> str:
    """A difference with its sign, as shown.

    Examples:
        >>> signed(0.034, 'coco/bbox_mAP'), signed(-0.0001, 'coco/bbox_mAP')
        ('+3.4', '0.0')
    """
    digits = digits_of(metric)
    text = f'{factor_of(metric) * value:+.{digits}f}'
    return text if float(text) else f'{0:.{digits}f}'
