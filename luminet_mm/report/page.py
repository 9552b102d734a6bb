"""Gather what a report says, and write it as one HTML file."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from luminet_mm.analysis.costs import run_sizes
from luminet_mm.files.atomic import write_atomically
from luminet_mm.report import figures, origin, tables
from luminet_mm.report.configs import Diff, config_text, diff, written
from luminet_mm.report.examine import examine, template_values
from luminet_mm.report.gather import Report, gather, verdict
from luminet_mm.report.groups import Group
from luminet_mm.report.models import reason
from luminet_mm.report.runs import find_runs
from luminet_mm.report.verdict import METHOD

DOTS = 20  # groups in the plot of runs
COSTS = 12  # groups whose models are built and counted


def write_report(
    paths: Sequence[str],
    out: str | Path,
    metric: str | None = None,
    teacher: str | None = None,
    images: int | None = None,
    pictures: int = 6,
    say: Callable[[str], None] = print,
) -> Report:
    """Read runs and write the page.

    Args:
        paths: Work dirs and folders of sweeps.
        out: The HTML file.
        metric: What the verdict is about.
        teacher: The teacher's work dir.
        images: Validation images that the models predict; 0 for none, None
            for :data:`~luminet_mm.report.examine.IMAGES`.
        pictures: Images to show that gained, and that lost.
        say: Shows progress.

    Raises:
        ReportError: If there is nothing to report on.
    """
    named = [] if teacher is None else [teacher]
    report = gather(find_runs([*paths, *named]), metric, teacher)
    parts = {}
    if images == 0:
        report.notes.append(
            'Results by class and pictures were not asked for (--images 0).'
        )
    else:
        found = examine(report.main, report.best, images, pictures, say)
        report.notes += found.notes
        if report.teacher is None:
            report.teacher_scores = found.teacher
            report.teacher_settings = found.settings
        parts = template_values(found)
    if report.teacher is None and not report.teacher_scores:
        report.notes.append(
            'There is no result of the teacher. Its work dir, of '
            'tools/train.py or tools/test.py, can be given with --teacher.'
        )
    write_atomically(out, render(report, parts))
    return report


def render(report: Report, parts: dict[str, Any] | None = None) -> str:
    """Fill the template.

    Args:
        report: What was found.
        parts: Sections that need the models.
    """
    metric, groups = report.metric, report.groups
    rest = [group for group in groups if group not in report.main]
    rest.sort(key=lambda group: -max(group.values(metric), default=-1))
    first = report.main + rest
    # in tables the teacher comes last
    shown = sorted(first, key=lambda group: group.role == 'teacher')
    counted: dict = {}

    def sizes(group: Group) -> dict:
        try:
            return run_sizes(
                group.runs[0].folder, '', counted, report.notes.append
            )
        except (ValueError, OSError) as error:
            report.notes.append(
                f'{group.title}: parameters are not counted: {reason(error)}.'
            )
            return dict(parameters=None, extra_parameters=None)

    pages = Environment(
        loader=PackageLoader('luminet_mm.report', 'templates'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    values: dict[str, Any] = dict(
        title=_title(report),
        verdict=verdict(report),
        metric=metric,
        results=tables.results(shown, metric, report.teacher_scores),
        gains=tables.gains(groups, metric),
        logged_classes=tables.logged_classes(report.main, metric),
        runs=tables.runs(shown, metric),
        losses=tables.losses(shown),
        costs=tables.costs(shown[:COSTS], sizes, (parts or {}).get('counted')),
        pictures=None,
        by_class=None,
        by_class_title='',
        confused=None,
        strip=_svg(figures.strip(first[:DOTS], metric), 'strip'),
        curve=_svg(figures.validation(first, metric), 'curve'),
        training=_training(report),
        notes=report.notes,
        configs=_configs(report),
        environment=_environment(report),
        commands=origin.commands([r for g in groups for r in g.runs]),
        command=origin.own_command(),
        method=METHOD,
        made=datetime.datetime.now().strftime('%Y-%m-%d %H:%M'),
    )
    values.update(parts or {})
    return pages.get_template('report.html').render(values)


def _title(report: Report) -> str:
    names = [group.title for group in (report.best, report.student) if group]
    return ' against '.join(names) or 'runs'


def _svg(figure: Any, name: str) -> Markup | None:
    return None if figure is None else figures.to_svg(figure, name)


def _training(report: Report) -> list[dict]:
    """Figures of what one run of each main group logged."""
    found = []
    for group in report.main:
        run = next((run for run in group.runs if run.curves), None)
        if run is None or group.role == 'teacher':
            continue
        plots = [
            (kind, figures.to_svg(figure, f'{group.role}-{index}'))
            for index, (kind, figure) in enumerate(
                figures.training(run.curves)
            )
        ]
        found.append(dict(title=group.title, run=run.folder.name, plots=plots))
    return sorted(found, key=lambda each: each['title'] == 'student alone')


def _configs(report: Report) -> dict[str, Any]:
    """The texts of the main configs and their differences."""
    texts = {group.title: config_text(group) for group in report.main}
    if report.teacher is None:
        texts['teacher'] = written(report.teacher_settings)
    texts = {title: text for title, text in texts.items() if text}
    diffs: list[Diff] = []
    before = report.student.title if report.student else ''
    for after in texts:
        if before in texts and after != before:
            diffs.append(
                diff(f'{before} → {after}', texts[before], texts[after])
            )
    return dict(texts=texts, diffs=diffs)


def _environment(report: Report) -> dict[str, list]:
    run = next((r for g in report.main for r in g.runs if r.head), None)
    return dict(
        run=origin.environment_of(run) if run else [],
        folder=[run.folder.name] if run else [],
        here=origin.versions(),
    )
