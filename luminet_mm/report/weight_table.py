"""Methods with the weight that sets itself, and with the published one.

``python -m luminet_mm.report.weight_table SUMMARY`` reads what a sweep wrote
for a grid such as configs/sweeps/cifar10_logits.py, where a group
``kd_published`` is ``kd`` with another weight. It prints a table in Markdown,
best method first, and with ``--compare kd dist`` one of differences. With
``--published SUMMARY`` the other weights are those of another sweep, which
has its own student.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from luminet_mm.analysis.method_table import loss_of, metric_of, title_of
from luminet_mm.report.verdict import Comparison
from luminet_mm.runs.metrics import factor_of
from luminet_mm.timing.step_times import BASE

PUBLISHED = '_published'
OTHER = 'published weight'


def join(
    summary: Mapping[str, dict],
    metric: str | None = None,
    published: Mapping[str, dict] | None = None,
) -> list[dict]:
    """One row for each method of a grid, the most accurate first.

    Args:
        summary: ``summary.json`` of a sweep.
        metric: The accuracy to use; by default the main one.
        published: That of the sweep with the published weights, whose groups
            have the same names; by default they are in ``summary``.

    Returns:
        ``group``, ``title``, ``last`` (for each seed) and its ``mean`` in
        percent, and ``published`` and ``published_mean``, the same for its
        other weight, empty and None without any.

    Raises:
        ValueError: If the metric is ambiguous, or a group with another weight
            has no partner.
    """
    metric = metric_of(summary, metric)
    scale = factor_of(metric)
    own = {k: v for k, v in summary.items() if not k.endswith(PUBLISHED)}
    others = {
        group.removesuffix(PUBLISHED): found
        for group, found in summary.items()
        if group not in own
    }
    for name in others.keys() - own.keys():
        raise ValueError(
            f'`{name}{PUBLISHED}` is in the summary without `{name}`.'
        )
    if published is not None:
        others = dict(published)

    def figures(found: Mapping | None) -> tuple[list[float], float | None]:
        if found is None:
            return [], None
        # the summary's own mean, so that it is rounded alike everywhere
        values = [scale * value for value in found[metric]['last']]
        return values, scale * found[metric]['mean']

    rows = []
    for group, found in own.items():
        last, mean = figures(found)
        other_last, other_mean = figures(others.get(group))
        rows.append(
            dict(
                group=group,
                title=title_of(loss_of(found['options'])),
                last=last,
                mean=mean,
                published=other_last,
                published_mean=other_mean,
            )
        )
    return sorted(rows, key=lambda row: -row['mean'])


def markdown(rows: Sequence[dict], metric: str, other: str = OTHER) -> str:
    """The rows as a table; the student in bold type.

    Args:
        rows: From :func:`join`.
        metric: Its name.
        other: What the second weight is.
    """
    lines = [
        f"| | {metric}, `'auto'` | by seed | {other} | by seed |",
        '|---|---|---|---|---|',
    ]
    for row in rows:
        mark = '**' if row['group'] == BASE else ''
        cells = [f'{mark}{row["title"]}{mark}']
        for values, mean in (
            (row['last'], row['mean']),
            (row['published'], row['published_mean']),
        ):
            seeds = ', '.join(f'{value:.1f}' for value in values)
            cells += [_spread(values, mean), seeds]
        lines.append(f'| {" | ".join(cell or "—" for cell in cells)} |')
    return '\n'.join(lines)


def differences(rows: Sequence[dict], groups: Sequence[str]) -> str:
    """Each of some methods over the student and the others, with p.

    p is that of :class:`luminet_mm.report.verdict.Comparison`: two-sided,
    exact, and of one comparison alone.
    """
    by_group = {row['group']: row for row in rows}
    chosen = [by_group[group] for group in groups]
    columns = [by_group[BASE], *chosen]
    lines = [
        f'| | over {" | ".join(row["title"] for row in columns)} |',
        '|---' * (len(columns) + 1) + '|',
    ]
    for row in chosen:
        cells = [
            _difference(row['last'], other['last']) if other != row else '—'
            for other in columns
        ]
        lines.append(f'| {row["title"]} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    found = Comparison(ours, theirs)
    sign = '−' if found.gain < 0 else '+'
    return f'{sign}{abs(found.gain):.1f} (p = {found.p:.3f})'


def _spread(values: Sequence[float], mean: float | None) -> str:
    if len(values) < 2:
        return ''.join(f'{value:.1f}' for value in values)
    return f'{mean:.1f} ± {statistics.stdev(values):.1f}'


def main(args: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('summary', type=Path, help="a sweep's summary.json")
    parser.add_argument(
        '--published', type=Path, help='that of the published weights'
    )
    parser.add_argument('--other', default=OTHER, help='its name')
    parser.add_argument('--name', default='top-1', help='of the metric')
    parser.add_argument(
        '--compare', nargs='+', default=[], help='groups to compare'
    )
    options = parser.parse_args(args)
    other = options.published
    rows = join(
        json.loads(options.summary.read_text()),
        published=json.loads(other.read_text()) if other else None,
    )
    print(markdown(rows, options.name, options.other))
    if options.compare:
        print(f'\n{differences(rows, options.compare)}')


if __name__ == '__main__':
    main()
