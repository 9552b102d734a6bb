"""Tables of a report, as text; the page's template draws them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from luminet_mm.report.groups import Group, baseline_of, losses_of
from luminet_mm.report.metrics import (
    NONE,
    class_of,
    number,
    signed,
    sort_metrics,
    spread,
    title_of,
)
from luminet_mm.report.verdict import Comparison


@dataclass
class Table:
    """A table: the first cell of a row names it.

    Attributes:
        name: Its id on the page.
        head: The column titles.
        rows: The cells.
        caption: What a reader has to know.
        strong: Numbers of rows to stress.
    """

    name: str
    head: list[str]
    rows: list[list[str]]
    caption: str = ''
    strong: list[int] = field(default_factory=list)


def results(
    groups: Sequence[Group], main: str, extra: dict | None = None
) -> Table:
    """Every metric of every group: mean ± standard deviation over runs.

    Args:
        groups: The groups.
        main: The metric to begin with.
        extra: Metrics of a teacher that was only evaluated for the page, by
            name.
    """
    scored = [group for group in groups if group.counted]
    names = [
        name
        for group in scored
        for run in group.counted
        for name, value in run.results.items()
        if number(value, name) != NONE
    ]
    metrics = sort_metrics(list(dict.fromkeys(names)), main)
    rows = [
        [group.title, str(len(group.counted))]
        + [spread(group.values(metric), metric) for metric in metrics]
        for group in scored
    ]
    if extra:
        rows.append(
            ['teacher', '1']
            + [
                number(extra[metric], metric) if metric in extra else NONE
                for metric in metrics
            ]
        )
    about = 'Mean ± standard deviation over runs, at the last validation.'
    if extra:
        about += ' The teacher was evaluated for this page.'
    head = ['', 'runs', *map(title_of, metrics)]
    return Table('results', head, rows, about)


def runs(groups: Sequence[Group], main: str) -> Table:
    """Each run on its own."""
    names = [
        name
        for group in groups
        for name, value in group.runs[0].results.items()
        if number(value, name) != NONE
    ]
    metrics = sort_metrics(list(dict.fromkeys(names)), main)
    rows = []
    for group in groups:
        for run in group.runs:
            best = [
                each[main]
                for each in run.log.metrics
                if isinstance(each.get(main), (int, float))
            ]
            rows.append(
                [
                    group.title,
                    run.folder.name,
                    NONE if run.seed is None else str(run.seed),
                    run.state,
                    *(
                        number(run.results.get(name, math.nan), name)
                        for name in metrics
                    ),
                    number(max(best, default=math.nan), main),
                ]
            )
    head = ['', 'folder', 'seed', 'state', *map(title_of, metrics)]
    return Table(
        'runs',
        [*head, f'best {title_of(main)}'],
        rows,
        'The last validation of each run, and the best of any epoch.',
    )


def gains(groups: Sequence[Group], metric: str) -> Table | None:
    """Each distilled group against its student alone."""
    students = [group for group in groups if group.role == 'student']
    rows = []
    for group in groups:
        base, _ = baseline_of(group, students)
        if group.role != 'distilled' or base is None:
            continue
        ours, theirs = group.values(metric), base.values(metric)
        if not ours or not theirs:
            continue
        found = Comparison(ours, theirs)
        between = found.interval()
        rows.append(
            [
                group.title,
                base.title,
                signed(found.gain, metric),
                NONE
                if between is None
                else ' to '.join(signed(each, metric) for each in between),
                NONE if found.kind == 'one' else f'{found.p:.3f}',
                WORDS[found.kind],
            ]
        )
    if not rows:
        return None
    rows.sort(key=lambda row: -float(row[2]))
    head = ['', 'against', f'{title_of(metric)} gained']
    return Table(
        'gains',
        [*head, '95 % interval', 'p', ''],
        rows,
        'At the last validation, mean over runs.',
    )


WORDS = dict(
    better='better',
    worse='worse',
    open='not told apart',
    one='one run: cannot be told',
)


def costs(
    groups: Sequence[Group],
    sizes: Callable[[Group], dict],
    others: dict[str, int] | None = None,
) -> Table:
    """Time of a step and parameters.

    Args:
        groups: The groups.
        sizes: Gives ``parameters`` and ``extra_parameters`` of one, or None.
        others: Parameters of models that may have no group, by title.
    """
    rows = []
    for group in groups:
        seconds = [
            run.log.seconds
            for run in group.runs
            if not math.isnan(run.log.seconds)
        ]
        memory = [
            max(run.curves['memory'].values())
            for run in group.runs
            if run.curves.get('memory')
        ]
        count = sizes(group)
        rows.append(
            [
                group.title,
                f'{statistics.median(seconds):.3f}' if seconds else NONE,
                f'{max(memory):,.0f}' if memory else NONE,
                *(
                    NONE if count.get(key) is None else f'{count[key]:,}'
                    for key in ('parameters', 'extra_parameters')
                ),
            ]
        )
    titles = [group.title for group in groups]
    for title, parameters in (others or {}).items():
        if title not in titles:
            rows.append([title, NONE, NONE, f'{parameters:,}', NONE])
    return Table(
        'costs',
        ['', 's/step', 'MB on the GPU', 'parameters', 'extra in training'],
        rows,
        'Median time of a training step. Extra parameters are those that the '
        'method trains beside the student; the deployed student lacks them.',
    )


def losses(groups: Sequence[Group]) -> Table | None:
    """The distillation losses of each group with their weights."""
    rows = [
        [group.title, key, title, str(weight)]
        for group in groups
        for title, key, weight in losses_of(group.settings)
    ]
    head = ['', 'in the config', 'method', 'loss_weight']
    return Table('losses', head, rows) if rows else None


def logged_classes(groups: Sequence[Group], metric: str) -> Table | None:
    """AP by class, if the evaluator logs it (``classwise=True``)."""
    scored = [group for group in groups if group.counted]
    names = [
        name
        for group in scored
        for name in group.counted[0].results
        if class_of(name)
    ]
    rows = [
        [class_of(name)]
        + [spread(group.values(name), metric) for group in scored]
        for name in dict.fromkeys(names)
    ]
    if not rows:
        return None
    head = ['class', *(group.title for group in scored)]
    return Table('logged-classes', head, rows, 'AP as logged, over runs.')
