"""What the runs ended with: the table at the end of `tools/distill.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from luminet_mm.runs.logs import is_finished, read_log
from luminet_mm.runs.metrics import factor_of

SHOWN = {
    'coco/bbox_mAP': 'AP',
    'coco/bbox_mAP_50': 'AP50',
    'coco/bbox_mAP_75': 'AP75',
    'accuracy/top1': 'top-1',
}
TITLES = dict(
    teacher='teacher', student='student alone', distilled='distilled'
)


def table(
    out: Path, roles: Sequence[str], teacher: Mapping[str, float]
) -> list[str]:
    """Lines with the last validation of each finished run.

    Args:
        out: Folder of the runs.
        roles: The runs, in order.
        teacher: Scores of a teacher that was given; empty if it has a run.
    """
    rows = {'teacher': (teacher, math.nan)} if teacher else {}
    for role in roles:
        log = read_log(out / role)
        if is_finished(out / role) and log.metrics:
            rows[role] = (log.metrics[-1], log.seconds)
    names = [
        name
        for name in SHOWN
        if any(name in metrics for metrics, _ in rows.values())
    ]
    lines = [
        f'{"":16}'
        + ''.join(f'{SHOWN[n]:>8}' for n in names)
        + f'{"s/step":>9}'
    ]
    for role, (metrics, seconds) in rows.items():
        values = ''.join(
            f'{_percent(name, metrics.get(name)):>8}' for name in names
        )
        step = '' if math.isnan(seconds) else f'{seconds:9.2f}'
        lines.append(f'{TITLES[role]:16}{values}{step}'.rstrip())
    return lines


def _percent(name: str, value: float | None) -> str:
    if value is None:
        return '-'
    return f'{factor_of(name) * value:.1f}'
