"""Find what a report is about: groups, the main metric, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from luminet_mm.report.groups import Group, baseline_of, make_groups
from luminet_mm.report.metrics import main_metric, spread, title_of
from luminet_mm.report.runs import Run
from luminet_mm.report.verdict import Comparison, sentence


@dataclass
class Report:
    """What the page says.

    Attributes:
        groups: All groups of runs.
        metric: The main metric.
        student: The student alone that ``best`` is compared with.
        best: The distilled group with the best mean.
        teacher: The teacher's runs.
        teacher_settings: The teacher's config, where it has no run.
        teacher_scores: The teacher's metrics, where it has no run and was
            evaluated for the page.
        notes: What was left out, and why.
    """

    groups: list[Group]
    metric: str
    student: Group | None = None
    best: Group | None = None
    teacher: Group | None = None
    teacher_settings: dict = field(default_factory=dict)
    teacher_scores: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def main(self) -> list[Group]:
        """Student, distilled and teacher, as far as they are there."""
        found = (self.student, self.best, self.teacher)
        return [each for each in found if each is not None]


def gather(
    runs: Sequence[Run], metric: str | None, teacher: str | None
) -> Report:
    """Find the groups, the main metric and the three main groups.

    Args:
        runs: All runs.
        metric: The user's choice of a metric.
        teacher: The teacher's work dir.

    Raises:
        ReportError: If the metric is not known.
    """
    groups = make_groups(runs, teacher)
    logged = [
        list(run.results)
        for group in groups
        if group.role != 'teacher'
        for run in group.counted
    ]
    logged = logged or [list(r.results) for g in groups for r in g.counted]
    report = Report(groups, main_metric(logged, metric))
    for run in runs:
        report.notes += run.notes
    for group in groups:
        report.notes += group.notes + _unfinished(group)
    _choose(report)
    return report


def _choose(report: Report) -> None:
    """Find the best distilled group, and what it is compared with."""

    def of(role: str) -> list[Group]:
        found = [
            group
            for group in report.groups
            if group.role == role and group.values(report.metric)
        ]
        return sorted(found, key=lambda group: -_mean(group, report.metric))

    distilled, students, teachers = map(
        of, ('distilled', 'student', 'teacher')
    )
    report.best = distilled[0] if distilled else None
    report.teacher = teachers[0] if teachers else None
    if report.best is None:
        report.student = students[0] if students else None
        report.notes.append('No distilled run has a result yet.')
        return
    report.student, others = baseline_of(report.best, students)
    if report.student is None:
        report.notes.append(
            'No run of the student alone has a result, so there is nothing '
            'to compare with: train the same config without distill.'
        )
    elif others:
        report.notes.append(
            f'{report.best.title} and the {report.student.title} differ in '
            f'more than the distillation ({len(others)} settings): '
            + '; '.join(others[:6])
            + ('; …' if len(others) > 6 else '.')
        )


def verdict(report: Report) -> list[str]:
    """The sentences at the top of the page."""
    best, student, metric = report.best, report.student, report.metric
    if best is None or student is None:
        return [
            'These runs cannot say whether distillation helps: '
            + (
                'none of them is distilled.'
                if best is None
                else 'none of them is the student alone.'
            )
        ]
    found = Comparison(best.values(metric), student.values(metric))
    said = [sentence(found, metric, best.title, f'the {student.title}')]
    others = [
        group
        for group in report.groups
        if group.role == 'distilled' and group.values(metric)
    ]
    if len(others) > 1:
        said.append(
            f'It is the best of {len(others)} distilled groups. The best of '
            'many looks better than it is: p and interval do not allow for '
            'the choice.'
        )
    unended = [
        group.title
        for group in (student, best)
        if not all(run.ended for run in group.counted)
    ]
    if unended:
        said.append(f'Not at their end yet: {", ".join(unended)}.')
    level = report.teacher_scores.get(metric)
    if report.teacher is not None:
        level = _mean(report.teacher, metric)
    if level is not None:
        said.append(_beside_teacher(report, level))
    return said


def _beside_teacher(report: Report, level: float) -> str:
    assert report.best is not None and report.student is not None
    gap = level - _mean(report.student, report.metric)
    gain = _mean(report.best, report.metric) - _mean(
        report.student, report.metric
    )
    shown = spread([level], report.metric)
    text = f'The teacher has {shown} {title_of(report.metric)}'
    if gap <= 0:
        return f'{text}, no more than the student alone.'
    if gain <= 0:
        return f'{text}.'
    return f'{text}: {100 * gain / gap:.0f} % of the way to it is gained.'


def _unfinished(group: Group) -> list[str]:
    """A note on runs that do not count, or count although they go on."""
    late = [run for run in group.runs if not run.ended]
    if not late:
        return []
    names = ', '.join(f'{run.folder.name} ({run.state})' for run in late)
    if any(run in group.counted for run in late):
        return [f'{group.title}: not at its end: {names}.']
    return [f'{group.title}: not counted, since not at its end: {names}.']


def _mean(group: Group, metric: str) -> float:
    values = group.values(metric)
    return sum(values) / len(values)
