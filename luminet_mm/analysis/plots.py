"""Pictures of an analysis, drawn without a display."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from luminet_mm.analysis.rows import SIDES
from luminet_mm.analysis.statistics import PairStatistics


def draw_similarity(
    statistics: PairStatistics,
    classes: Sequence[str],
    max_gap: float,
    path: Path,
) -> None:
    """Draw the two gaps as heat maps: darker means less similar."""
    figure = Figure(figsize=(13, 6), layout='constrained')
    panels = (
        ('mean logits by class, |student - teacher|', 'logit_gap', max_gap),
        ('correlation of logits, |student - teacher|', 'correlation_gap', 1),
    )
    for axes, (title, name, top) in zip(figure.subplots(1, 2), panels):
        matrix = getattr(statistics, name)().fill_diagonal_(0).numpy()
        image = axes.imshow(matrix, cmap='PuBuGn', vmin=0, vmax=top)
        axes.set(title=title, xlabel='logit of class', ylabel='class')
        if len(classes) <= 30:
            axes.set_xticks(range(len(classes)), classes, rotation=90)
            axes.set_yticks(range(len(classes)), classes)
        elif len(classes) > 100:
            axes.set(xticks=[], yticks=[])
        figure.colorbar(image, ax=axes, shrink=0.8)
    figure.savefig(path, dpi=150)


def draw_reliability(result: dict, path: Path) -> None:
    """Draw accuracy against confidence, bin by bin."""
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    for axes, side in zip(figure.subplots(1, 2, sharey=True), SIDES):
        bins = result[side]['bins']
        accuracy = [value or 0 for value in bins['accuracy']]
        width = 1 / len(accuracy)
        left = np.arange(len(accuracy)) * width
        axes.bar(left, accuracy, width, align='edge', edgecolor='white')
        axes.plot([0, 1], [0, 1], color='black', linestyle='--')
        axes.set(
            title=f'{side}: ECE {result[side]["ece"]:.4f}',
            xlabel='confidence',
            ylabel='accuracy',
            xlim=(0, 1),
            ylim=(0, 1),
        )
    figure.savefig(path, dpi=120)


def draw_parameters(runs: Sequence[dict], path: Path) -> None:
    """Draw accuracy against parameters, the student's and extra, and time.

    Args:
        runs: Result of :func:`read_runs`, not empty; points
            with unknown numbers are left out.
        path: The image file.
    """
    figure = Figure(figsize=(16, 4.5), layout='constrained')
    left, right, time = figure.subplots(1, 3, sharey=True)
    for axes, key in (
        (left, 'parameters'),
        (right, 'extra_parameters'),
        (time, 'seconds_per_batch'),
    ):
        for run in runs:
            # without a value the name still uses up its colour
            x = math.nan if run[key] is None else run[key]
            y = math.nan if run['accuracy'] is None else run['accuracy']
            axes.errorbar(x, y, run['std'], marker='o', label=run['name'])
        axes.grid(alpha=0.3)
    left.set(xlabel="student's parameters", ylabel=runs[0]['metric'])
    known = [run['parameters'] for run in runs if run['parameters']]
    left.set(xscale='log', xlim=(min(known, default=1) / 3, None))
    left.set_xlim(right=3 * max(known, default=1))
    right.set(xlabel='extra parameters in training')
    largest = max(1000, *(run['extra_parameters'] or 0 for run in runs))
    right.set_xscale('symlog', linthresh=1000)
    right.set_xlim(-500, 3 * largest)
    right.set_xticks(
        [0, *(10**power for power in range(3, len(str(3 * largest))))]
    )
    time.set(xlabel='seconds per batch')
    time.set_xlim(left=0)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc='outside right center', fontsize=8)
    figure.savefig(path, dpi=120)
