"""Watch: what a run is told of each loss, in the steps that ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from luminet_mm.distillers.answers import (
    Rows,
    alike,
    compared_rows,
    summary,
    varies,
)
from luminet_mm.distillers.step import Step
from luminet_mm.distributed import all_gather_with_grad


@dataclass
class Sight:
    """One loss in one step on one rank; None where it is not known.

    Attributes:
        distill: Squared norm of the loss's gradient at the student's signal.
        own: That of the student's own losses there.
        value: The loss.
        in_total: Whether it is in the sum that is trained.
        rows: How many rows were compared, see
            :func:`~luminet_mm.distillers.answers.compared_rows`.
        teacher: On how many of them the teacher is right.
        student: On how many the student is.
        agree: On how many both say the same.
        named: On how many the teacher says a class, and not the background;
            None without a column for that.
        boxes: Objects in the images, of detectors.
        varies: Whether the teacher's answer differs between rows or images.
        student_varies: Whether the student's does.
        same: Whether both give the same values.
        lowest: Smallest of the columns that the teacher says.
        highest: Largest of them.
        lowest_label: Smallest of the labels.
        highest_label: Largest of them.
    """

    distill: Any = None
    own: Any = None
    value: Any = None
    in_total: Any = None
    rows: Any = None
    teacher: Any = None
    student: Any = None
    agree: Any = None
    named: Any = None
    boxes: Any = None
    varies: Any = None
    student_varies: Any = None
    same: Any = None
    lowest: Any = None
    highest: Any = None
    lowest_label: Any = None
    highest_label: Any = None

    def numbers(self, like: Tensor) -> Tensor:
        """Its fields, ``(17,)`` float64; NaN where they are not known."""
        values = []
        for each in fields(self):
            value = getattr(self, each.name)
            if not isinstance(value, Tensor):
                number = torch.nan if value is None else float(value)
                value = like.new_tensor(number, dtype=torch.float64)
            values.append(value.detach().to(like.device, torch.float64))
        return torch.stack(values)


class Watch:
    """Looks at the losses of a model's steps.

    Nothing is changed, and no random number is drawn.

    Attributes:
        due: Whether the next step is looked at.
        columns: How many columns the logits of a loss have, by its key.
        found: What was seen last, of each rank and loss, as in
            :class:`Sight`: ``(ranks, losses, 17)``. None before.
        keys: Of the losses in it.
    """

    def __init__(self) -> None:
        self.due = False
        self.columns: dict[str, int] = {}
        self.foreground: dict[str, bool] = {}
        self.found: Tensor | None = None
        self.keys: list[str] = []
        self._before: dict[str, Any] = {}

    def look(
        self, model: Any, step: Step, norms: Mapping[str, Tensor]
    ) -> None:
        """Look at a step.

        Args:
            model: The distiller.
            step: The step.
            norms: Squared, of the gradients at the losses' signals, by key;
                see :func:`~luminet_mm.distillers.gradients.squared_norms`.
        """
        self.due = False
        in_total = _in_total(model, step)
        sights = []
        for i, comparison in enumerate(step.active):
            key = comparison.key
            sight = Sight(
                value=step.losses[key].detach().float().mean(),
                in_total=in_total.get(key),
                boxes=step.record.objects(),
            )
            if key in norms:
                sight.distill, sight.own = norms[key].unbind()
            if step.teachers[i] is not None:
                self._compare(sight, model, step, i)
            sights.append(sight.numbers(sight.value))
        self.keys = [comparison.key for comparison in step.active]
        self.found = all_gather_with_grad(torch.stack(sights))

    def _compare(self, sight: Sight, model: Any, step: Step, i: int) -> None:
        """Note how the teacher's answer is, and on which rows it is right."""
        comparison = step.active[i]
        student, teacher = step.students[i], step.teachers[i]
        batch = step.record.batch(comparison.student)
        images = None if batch.points is None else batch.points.images
        sight.varies = varies(teacher, images)
        sight.student_varies = varies(student, images)
        if sight.varies is None:
            key = comparison.key
            sight.varies = self._moved(key, step.images, teacher)
            sight.student_varies = sight.varies is not None
        sight.same = alike(student, teacher)
        rows = compared_rows(model, comparison, student, teacher, batch)
        if rows is not None:
            self.columns[comparison.key] = rows.student.shape[1]
            self.foreground[comparison.key] = rows.foreground
            _count(sight, rows)

    def _moved(self, key: str, images: Tensor, teacher: Any) -> Any:
        """Whether an answer about one image differs from the one before."""
        now = summary(teacher), summary(images)
        before = self._before.get(key)
        self._before[key] = now
        if before is None or now[0] is None or now[0].shape != before[0].shape:
            return None
        moved, other = (
            ((a - b).abs() > 1e-6 * b.abs()).any()
            for a, b in zip(now, before, strict=True)
        )
        return moved if other else None


def _count(sight: Sight, rows: Rows) -> None:
    ours, theirs = rows.student.argmax(dim=1), rows.teacher.argmax(dim=1)
    sight.rows = len(ours)
    sight.agree = (ours == theirs).sum()
    if len(theirs):
        sight.lowest, sight.highest = theirs.min(), theirs.max()
    if rows.labels is None:
        return
    if rows.background is not None:
        sight.named = (theirs != rows.background).sum()
    sight.teacher = (theirs == rows.labels).sum()
    sight.student = (ours == rows.labels).sum()
    if len(theirs):
        labels = rows.labels
        sight.lowest_label, sight.highest_label = labels.min(), labels.max()


def _in_total(model: Any, step: Step) -> dict[str, bool]:
    """Which losses are in the sum that is trained.

    Of those alone that have a gradient.
    """
    keys = [
        each.key for each in step.active if step.losses[each.key].requires_grad
    ]
    total, _ = model.parse_losses(step.losses)
    if not keys or not total.requires_grad:
        return dict.fromkeys(keys, False)
    gradients = torch.autograd.grad(
        total,
        [step.losses[key] for key in keys],
        retain_graph=True,
        allow_unused=True,
    )
    return {
        key: g is not None and bool(g.any())
        for key, g in zip(keys, gradients, strict=True)
    }
