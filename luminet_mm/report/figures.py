"""Plots of a report, as SVG to stand in the page."""

from __future__ import annotations

import io
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from luminet_mm.report.groups import Group
from luminet_mm.report.metrics import title_of
from luminet_mm.runs.metrics import factor_of

# Colours that read on light and dark paper and to the colour-blind.
COLOURS = {'student': '#4477aa', 'distilled': '#ee6677', 'teacher': '#228833'}
OTHERS = ('#ccbb44', '#aa3377', '#66ccee', '#bb7744', '#999999')
INK = '#010203'  # becomes the colour of the page's text
SHOWN = 6  # lines in a plot
POINTS = 400  # of a line
# Kinds of scalars by their names; the first that fits.
KINDS = (
    ('weights of the losses', r'(^|\.)weight_'),
    ('shares of the gradient', r'share'),
    (  # as DistillMonitorHook logs them
        'teacher and student on the same rows, in percent',
        r'^(teacher_acc|student_acc|agreement)_',
    ),
    ('accuracy in training', r'(^|_|\.)(acc|agree)'),
    ('losses', r'loss'),
    ('optimiser', r'^(lr|grad_norm)$|(^|\.)(base_lr|momentum)$'),
)
SKIPPED = ('iter', 'epoch', 'step', 'time', 'data_time', 'memory')


def to_svg(figure: Figure, name: str) -> Markup:
    """A figure as an SVG element.

    Args:
        figure: The figure; what is drawn in :data:`INK` takes on the colour
            of the page's text.
        name: Its id; those of its parts begin with it.
    """
    stream = io.StringIO()
    with matplotlib.rc_context(
        {'svg.fonttype': 'none', 'svg.hashsalt': name, 'font.size': 10}
    ):
        figure.savefig(
            stream, format='svg', transparent=True, metadata={'Date': None}
        )
    text = stream.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', '', text)
    text = text.replace('xlink:href', 'href').replace(INK, 'currentColor')
    text = re.sub(r'((?: id|href)="#?|url\(#)', rf'\1{name}-', text)
    return Markup(text)


def strip(groups: Sequence[Group], metric: str) -> Figure:
    """Each run a dot, in a row for each group."""
    shown = [group for group in groups if group.values(metric)]
    figure = _figure(7, 0.9 + 0.38 * len(shown))
    axes = figure.subplots()
    factor = factor_of(metric)
    for row, group in enumerate(reversed(shown)):
        values = [factor * value for value in group.values(metric)]
        colour = COLOURS[group.role]
        axes.plot(values, [row] * len(values), 'o', color=colour, alpha=0.75)
        mean = sum(values) / len(values)
        axes.plot([mean], [row], '|', color=INK, markersize=18)
    names = [_label(group) for group in reversed(shown)]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(title_of(metric))
    _clean(axes)
    return figure


def validation(groups: Sequence[Group], metric: str) -> Figure | None:
    """A metric over training: a line for each run.

    Args:
        groups: At most :data:`SHOWN` are drawn, so the most important first.
        metric: The metric.

    Returns:
        None if no run has more than one validation.
    """
    figure = _figure(7, 3.4)
    axes = figure.subplots()
    factor, lines, unit = factor_of(metric), 0, 'epoch'
    for group, colour in _coloured(groups):
        label: str | None = _label(group)
        for run in group.runs:
            points = [
                (each['step'], factor * each[metric])
                for each in run.log.metrics
                if isinstance(each.get(metric), (int, float))
                and not run.tested
            ]
            if len(points) > 1:
                unit = run.unit
                axes.plot(*zip(*points), '.-', color=colour, label=label)
                lines, label = lines + 1, None
    for group in groups:
        level = group.values(metric) if group.role == 'teacher' else []
        if level and all(len(run.log.metrics) < 2 for run in group.runs):
            axes.axhline(
                factor * sum(level) / len(level),
                color=COLOURS['teacher'],
                linestyle='--',
                label='teacher',
            )
    if not lines:
        return None
    axes.set(xlabel=unit, ylabel=title_of(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    _clean(axes)
    return figure


def training(curves: Mapping[str, Mapping[int, float]]) -> list:
    """What a run logged in training, a figure for each kind of scalar.

    Args:
        curves: Values by name and iteration.

    Returns:
        Pairs of the kind and its figure.
    """
    found = []
    for kind, names in kinds(curves).items():
        figure = _figure(7, 2.9)
        axes = figure.subplots()
        for name, (style, colour) in _styles(names).items():
            axes.plot(
                *_thinned(curves[name]),
                style,
                color=colour,
                label=name,
                linewidth=1.3,
            )
        values = [v for name in names for v in curves[name].values()]
        finite = [value for value in values if 0 < value < float('inf')]
        if len(finite) == len(values) and max(values) > 50 * min(values):
            axes.set_yscale('log')
        axes.set_xlabel('iteration')
        _legend(axes)
        _clean(axes)
        found.append((kind, figure))
    return found


def kinds(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort names of scalars into kinds; those that say nothing are left out.

    Examples:
        >>> kinds(['loss', 'lr', 'weight_kd', 'time', 'acc'])
        ... # doctest: +NORMALIZE_WHITESPACE
        {'weights of the losses': ['weight_kd'],
         'accuracy in training': ['acc'],
         'losses': ['loss'], 'optimiser': ['lr']}
    """
    found: dict[str, list[str]] = {kind: [] for kind, _ in KINDS}
    found['other scalars'] = []
    for name in names:
        if name in SKIPPED:
            continue
        fits = [kind for kind, form in KINDS if re.search(form, name)]
        found[(fits or ['other scalars'])[0]].append(name)
    return {kind: each for kind, each in found.items() if each}


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout='constrained')


def _coloured(groups: Sequence[Group]) -> list[tuple[Group, str]]:
    used: set[str] = set()
    others = iter(OTHERS)
    found = []
    for group in groups[:SHOWN]:
        colour = COLOURS[group.role]
        if colour in used:
            colour = next(others)
        used.add(colour)
        found.append((group, colour))
    return found


def _thinned(points: Mapping[int, float]) -> tuple[list, list]:
    """A curve of at most :data:`POINTS` points: means of neighbours."""
    pairs = list(points.items())
    size = -(-len(pairs) // POINTS)
    parts = [pairs[i : i + size] for i in range(0, len(pairs), size or 1)]
    return (
        [statistics.fmean(x for x, _ in part) for part in parts],
        [statistics.fmean(y for _, y in part) for part in parts],
    )


def _styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Style and colour of each line; a side of a pair has its own colour."""
    sides = dict(teacher_acc='teacher', student_acc='distilled')
    colours = [*COLOURS.values(), *OTHERS]
    styles, seen = ('-', '--', ':', '-.'), dict.fromkeys(sides, 0)
    found = {}
    for index, name in enumerate(names):
        side = name[: len('teacher_acc')]
        if side in sides:  # as DistillMonitorHook logs them for each loss
            style = styles[seen[side] % len(styles)]
            found[name] = style, COLOURS[sides[side]]
            seen[side] += 1
        else:
            style = styles[index // len(colours) % len(styles)]
            found[name] = style, colours[index % len(colours)]
    return found


def _legend(axes) -> None:
    axes.legend(
        loc='upper left',
        bbox_to_anchor=(1, 1),
        frameon=False,
        labelcolor=INK,
        fontsize=9,
    )


def _clean(axes) -> None:
    axes.grid(alpha=0.15, color=INK, linewidth=0.7)
    axes.spines[['top', 'right']].set_visible(False)
    for spine in axes.spines.values():
        spine.set_edgecolor(INK)
    axes.tick_params(colors=INK, which='both')
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def _label(group: Group, length: int = 34) -> str:
    """A name that fits beside a plot."""
    text = group.title if len(group.title) <= length else group.name
    return text if len(text) <= length else f'{text[: length - 1]}…'
