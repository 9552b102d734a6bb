"""Accuracy and cost of every method of a grid, as a table and a picture.

``python -m luminet_mm.analysis.method_table SUMMARY STEPS`` joins the results
of tools/sweep.py (``summary.json``) with the step times of each method
(``--json`` of :mod:`luminet_mm.timing.step_times`), prints a table in
Markdown, best method first, and draws accuracy against step time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from adjustText import adjust_text
from matplotlib.figure import Figure
from matplotlib.text import Text

from luminet_mm.methods import METHODS
from luminet_mm.methods.signals import USUAL
from luminet_mm.runs.logs import choose_metric
from luminet_mm.runs.metrics import factor_of
from luminet_mm.timing.step_times import BASE

TITLES = {f'luminet_mm.{method.loss}': method.title for method in METHODS}
LOGITS, VECTORS = (
    [names[kind] for names in USUAL.values() if kind in names]
    for kind in ('logits', 'vectors')
)
DISTILL = ['model', 'distill']
COLOURS = dict(none='black', logits='C3', vectors='C2', maps='C0')


def join(
    summary: Mapping[str, dict],
    steps: Mapping[str, dict],
    metric: str | None = None,
) -> list[dict]:
    """One row for each group of a grid, the most accurate first.

    Args:
        summary: ``summary.json`` of a sweep.
        steps: Figures of ``step_times`` for the same grid.
        metric: The accuracy to use; by default the main one.

    Returns:
        ``group``, ``title``, ``reads`` (the kind of signals),
        ``mean``, ``std`` and ``last`` (for each seed) in percent, ``missing``
        (number of runs without a result), and from ``steps``: ``seconds`` (per
        step), ``ratio`` (to the student's step) and ``extra_parameters``.

    Raises:
        ValueError: If a group was not timed, or the metric is ambiguous.
    """
    metric = metric_of(summary, metric)
    scale = factor_of(metric)
    rows = []
    for group, found in summary.items():
        if group not in steps:
            raise ValueError(
                f'`{group}` was not timed. Run `python -m '
                'luminet_mm.timing.step_times` on the same grid.'
            )
        loss = loss_of(found['options'])
        rows.append(
            dict(
                group=group,
                title=title_of(loss),
                reads=_reads(loss),
                mean=scale * found[metric]['mean'],
                std=scale * found[metric]['std'],
                last=[scale * value for value in found[metric]['last']],
                missing=len(found.get('missing', ())),
                **steps[group],
            )
        )
    return sorted(rows, key=lambda row: -row['mean'])


def metric_of(summary: Mapping[str, dict], metric: str | None) -> str:
    """The wanted metric of a summary, or its main one."""
    there = [
        [key for key in group if '/' in key] for group in summary.values()
    ]
    return choose_metric(there, metric)


def title_of(loss: Mapping) -> str:
    """The method's name; an empty loss is the student alone."""
    return TITLES[loss['type']] if loss else 'student alone'


def markdown(rows: Sequence[dict], metric: str) -> str:
    """The rows as a table; with ± if there is more than one seed."""
    lines = [
        f'| | {metric} | by seed | s/step | / student | extra parameters |',
        '|---|---|---|---|---|---|',
    ]
    for row in rows:
        mark = '**' if row['group'] == BASE else ''
        seeds = ', '.join(f'{value:.1f}' for value in row['last'])
        if row['missing']:
            seeds += f' ({row["missing"]} missing)'
        lines.append(
            f'| {mark}{row["title"]}{mark} | {_accuracy(row)} | {seeds} | '
            f'{row["seconds"]:.2f} | {row["ratio"]:.2f} | '
            f'{row["extra_parameters"]:,} |'
        )
    return '\n'.join(lines)


def draw(rows: Sequence[dict], metric: str, path: Path) -> None:
    """Draw accuracy against step time, with each method's name."""
    figure = Figure(figsize=(11, 7.5), layout='constrained')
    axes = figure.subplots()
    names: list[Text] = []
    for reads, colour in COLOURS.items():
        chosen = [row for row in rows if row['reads'] == reads]
        label = 'student alone' if reads == 'none' else f'reads {reads}'
        axes.errorbar(
            [row['ratio'] for row in chosen],
            [row['mean'] for row in chosen],
            [row['std'] for row in chosen],
            color=colour,
            label=label,
            linestyle='',
            marker='o',
            markersize=4,
            elinewidth=0.7,
        )
        names += [
            axes.text(row['ratio'], row['mean'], row['group'], fontsize=8)
            for row in chosen
        ]
    alone = next(row for row in rows if row['group'] == BASE)
    axes.axhline(alone['mean'], color='black', linestyle=':', linewidth=1)
    axes.set(xlabel="step time over the student's", ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend()
    adjust_text(
        names,
        x=[row['ratio'] for row in rows],
        y=[row['mean'] for row in rows],
        ax=axes,
        expand=(1.2, 1.5),
        arrowprops=dict(arrowstyle='-', color='grey', linewidth=0.5),
    )
    figure.savefig(path, dpi=120)


def _accuracy(row: Mapping) -> str:
    spread = f' ± {row["std"]:.1f}' if len(row['last']) > 1 else ''
    return f'{row["mean"]:.1f}{spread}'


def loss_of(options: Mapping) -> dict:
    """The loss that a group adds; empty for the student alone."""
    path = (key.split('.') for key in options)
    names = {'.'.join(each[:3]) for each in path if each[:2] == DISTILL}
    return {
        key: options[f'{name}.{key}']
        for name in sorted(names)[:1]
        for key in ('type', 'signal', 'student')
        if f'{name}.{key}' in options
    }


def _reads(loss: Mapping) -> str:
    if not loss:
        return 'none'
    signals = loss.get('signal', loss.get('student', ()))
    names = {signals} if isinstance(signals, str) else set(signals)
    if names <= {*LOGITS}:
        return 'logits'
    return 'vectors' if names <= {*LOGITS, *VECTORS} else 'maps'


def main(args: Sequence[str] | None = None) -> None:
    """Print the table; draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('summary', type=Path, help='summary.json of a sweep')
    parser.add_argument('steps', type=Path, help='JSON of step_times')
    parser.add_argument(
        '--metric', help='accuracy to show; by default the main one'
    )
    parser.add_argument('--name', default='accuracy', help='its heading')
    parser.add_argument('--png', type=Path, help='picture to write')
    options = parser.parse_args(args)
    rows = join(
        json.loads(options.summary.read_text()),
        json.loads(options.steps.read_text()),
        options.metric,
    )
    print(markdown(rows, options.name))
    if options.png:
        draw(rows, options.name, options.png)


if __name__ == '__main__':
    main()
