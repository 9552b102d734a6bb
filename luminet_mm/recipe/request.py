"""What a user asks for, and where the answer goes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from luminet_mm.files.atomic import write_atomically
from luminet_mm.recipe.dataset import DataError

ROLES = ('teacher', 'student', 'distilled')


@dataclass(frozen=True)
class Request:
    """The command line, as plain values.

    Args:
        data: Folder of the data.
        out: Folder of everything that is written.
        student: Config and perhaps checkpoint; empty for the small one.
        teacher: Likewise; with a checkpoint it is not trained.
        budget: As given; None for the usual length.
        epochs: Of a student; None for the budget's or the usual number.
        baseline: Whether the student is also trained alone.
        flip: Whether training images are mirrored.
        seed: Of all runs.
    """

    data: str
    out: str
    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()
    budget: str | None = None
    epochs: int | None = None
    baseline: bool = True
    flip: bool = True
    seed: int = 0

    @property
    def folder(self) -> Path:
        """Folder of the configs."""
        return Path(self.out) / 'configs'

    @property
    def trained(self) -> list[str]:
        """The roles that are trained, in order."""
        left = dict(
            teacher=len(self.teacher) < 2,
            student=self.baseline,
            distilled=True,
        )
        return [role for role in ROLES if left[role]]

    def config(self, role: str) -> Path:
        """The config of a role."""
        return self.folder / f'{role}.py'


def keep_plan(request: Request, plan: dict[str, Any]) -> None:
    """Write down what was asked and decided, for the next start."""
    content = dict(request=asdict(request), plan=plan)
    write_atomically(
        Path(request.out) / 'plan.json', json.dumps(content, indent=1)
    )


def kept_plan(request: Request) -> dict[str, Any] | None:
    """The plan of an earlier start of the same command.

    Returns:
        None if there is none, or nothing has been trained by it.

    Raises:
        DataError: If the folder holds runs of another command.
    """
    path = Path(request.out) / 'plan.json'
    try:
        content = json.loads(path.read_text('utf-8'))
        before, plan = content['request'], content['plan']
    except (OSError, ValueError, KeyError, TypeError):
        before = plan = None
    started = [
        role
        for role in ROLES
        if (Path(request.out) / role / 'settings.json').is_file()
    ]
    now = json.loads(json.dumps(asdict(request)))
    if before == now and all(map(_is_file, map(request.config, ROLES))):
        return plan
    if not started:
        return None
    different = [
        f'{key} is {now[key]!r} now and was {before[key]!r}'
        for key in now
        if isinstance(before, dict) and before.get(key) != now[key]
    ]
    raise DataError(
        f'{request.out} holds runs that were started with other settings'
        f'{": " if different else ""}{"; ".join(different)}. Choose another '
        'folder with --out, or remove this one.'
    )


def _is_file(path: Path) -> bool:
    return path.is_file()
