"""What a report found, as plain values: to send in, or for a script."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from luminet_mm.files.atomic import write_atomically
from luminet_mm.report.gather import Report, verdict
from luminet_mm.report.groups import Group, losses_of
from luminet_mm.report.origin import command_of, environment_of, versions
from luminet_mm.report.runs import Run

FORMAT = 1


def record(report: Report) -> dict[str, Any]:
    """Versions, configs and scores by seed.

    Args:
        report: What was found.

    Returns:
        Plain values; no folder is named in full, but the configs are whole.
        ``groups`` has students, distilled ones and teachers, ``runs`` of each
        one entry per seed, and a run's ``scores`` are those of its last
        validation.
    """
    return dict(
        format=FORMAT,
        verdict=verdict(report),
        metric=report.metric,
        teacher_scores=_finite(report.teacher_scores),
        notes=list(report.notes),
        reported_with=dict(versions()),
        groups=[_group(group) for group in report.groups],
    )


def write_record(report: Report, out: str | Path) -> None:
    """Write :func:`record` as JSON.

    Args:
        report: What was found.
        out: The file.
    """
    text = json.dumps(record(report), indent=1, ensure_ascii=False)
    write_atomically(out, text + '\n')


def _group(group: Group) -> dict[str, Any]:
    first = group.runs[0]
    return dict(
        title=group.title,
        role=group.role,
        losses=[
            dict(title=title, name=name, weight=weight)
            for title, name, weight in losses_of(group.settings)
        ],
        command=command_of(first),
        config=first.text,
        runs=[_run(run, group) for run in group.runs],
    )


def _run(run: Run, group: Group) -> dict[str, Any]:
    return dict(
        name=run.folder.name,
        seed=run.seed,
        state=run.state,
        counted=run in group.counted,
        scores=_finite(run.results),
        trained_with=dict(environment_of(run)),
    )


def _finite(scores: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {
        name: value if math.isfinite(value) else None
        for name, value in scores.items()
    }
