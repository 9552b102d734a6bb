"""What makes a distillation loss train nothing, or the wrong thing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from luminet_mm.hooks.schedule import LossSchedule
from luminet_mm.hooks.tally import Tally

FEWEST = 30
"""Rows from which an accuracy is judged."""
MANY = 100
"""Rows of which even a teacher that says little is right on one."""
FED = 3
"""Steps with an object from which a loss of 0 cannot be meant."""
SURE = 3.0
"""Standard deviations by which a teacher is less accurate."""
LOOK = (
    'Check its checkpoint, its classes, and mean, std and channel order in '
    'its data_preprocessor'
)


class Fault(NamedTuple):
    """What is wrong with a loss."""

    stops: bool
    """Whether it cannot be meant."""
    text: str
    """What was seen, the likely cause and the fix."""


class Subject(NamedTuple):
    """What is known of a loss beside what was seen in its steps."""

    key: str
    """Its key in the block ``distill``."""
    columns: int = 0
    """How many columns its logits have; 0 where it has none."""
    foreground: bool = False
    """Whether only rows with an object were compared."""
    weighted: bool = True
    """Whether its weight is not 0."""
    at_limit: bool = False
    """Whether its weight sets itself, and has come to the end."""
    taught: bool = True
    """Whether it has a teacher, and not peers that learn as well."""
    random: bool = False
    """Whether that teacher has random weights, as for a benchmark."""

    @property
    def rows(self) -> str:
        """What rows are called."""
        return 'rows with an object' if self.foreground else 'rows'


def faults(loss: Subject, seen: Tally) -> list[Fault]:
    """Faults of a loss that its first steps show.

    Args:
        loss: The loss.
        seen: These steps.
    """
    found = [*_of_gradient(loss, seen)] if loss.weighted else []
    if loss.taught:
        found += _of_teacher(loss, seen)
    found = [
        Fault(stops, f'model.distill.{loss.key}: {text}')
        for stops, text in found
    ]
    return found + later_faults(loss, seen)


def _of_gradient(loss: Subject, seen: Tally) -> Iterator[Fault]:
    steps = f'the first {seen.steps} steps'
    zero = [rank for rank, n in enumerate(seen.silent) if n == seen.steps]
    # images without objects may give nothing to compare
    silent = [rank for rank in zero if seen.fed[rank]]
    if seen.outside == seen.steps:
        yield Fault(
            True,
            'it is not in the sum that is trained. Look at parse_losses of '
            'the model: it leaves this loss out.',
        )
    if len(zero) == len(seen.silent):
        yield _all_silent(loss, seen, steps)
    elif not seen.moves:
        yield Fault(
            True,
            f'the loss is {seen.losses[-1]:.4g}, but its gradient at the '
            f"student's signal was exactly 0 in {steps}, so the student does "
            'not learn from it. Look for a detach(), a torch.no_grad() or an '
            'argmax between the signal and the loss.',
        )
    elif silent:
        others = [r for r in range(len(seen.silent)) if r not in zero]
        yield Fault(
            _is_fed(seen, silent),
            f'the loss was exactly 0 in {steps} on rank {_listed(silent)}, '
            f'and not on rank {_listed(others)}. Something that it needs is '
            'there in some of the processes only, such as a file, a buffer '
            'or a hook that only the first one sets.',
        )


def _all_silent(loss: Subject, seen: Tally, steps: str) -> Fault:
    if seen.same == seen.steps:
        return Fault(
            False,
            "the teacher gives the student's own values, so the loss was "
            f'exactly 0 in {steps}. That is right if the student starts with '
            "the teacher's weights; otherwise the teacher's checkpoint is "
            "the student's.",
        )
    if not any(seen.fed):
        return Fault(
            False,
            f'no image had an object in {steps}, so the loss was 0. Check '
            'the annotations and their classes, if they should have some.',
        )
    return Fault(
        _is_fed(seen, range(len(seen.fed))),
        f'the loss and its gradient were exactly 0 in {steps}, so it trains '
        'nothing. Check what its signals are, and that options such as rows, '
        'levels and thresholds leave something to compare.',
    )


def _is_fed(seen: Tally, ranks: Iterable[int]) -> bool:
    """Whether ranks had enough steps with an object to judge a 0 by."""
    return sum(seen.fed[rank] for rank in ranks) >= min(FED, seen.steps)


def _of_teacher(loss: Subject, seen: Tally) -> Iterator[Fault]:
    if seen.fixed and not seen.varied:
        yield Fault(
            True,
            'the teacher gives the same answer for all images, as if it did '
            f'not see them. {LOOK}.',
        )
    if not seen.labelled or seen.rows < FEWEST:
        return
    right = seen.percent('teacher')
    said = f'the teacher is right on {right:.1f} % of {seen.rows} {loss.rows}'
    low, high = seen.said
    first, last = seen.labels
    if _is_chance(loss, seen):
        said += f', no more than by chance among {loss.columns} classes'
    elif seen.teacher and low == high and first < last:
        if seen.teacher < 0.9 * seen.rows:
            said += f': it says class {low:.0f} for each of them'
            yield Fault(False, f'{said}. {LOOK}.')
        return
    elif seen.teacher:
        return
    stops = _is_broken(loss, seen) and not loss.random
    yield Fault(stops, f'{said}. {LOOK}.')


def _is_chance(loss: Subject, seen: Tally) -> bool:
    """Whether a guess would be right as often.

    With an object and two columns, one may be the background: a weak teacher
    that finds half of the objects is not at chance.
    """
    columns = loss.columns
    if columns < (3 if loss.foreground else 2):
        return False
    return _is_guessed(seen.teacher, seen.rows, columns)


def _is_broken(loss: Subject, seen: Tally) -> bool:
    """Whether a teacher that is right so seldom cannot be a good one.

    A careful one calls many rows with an object background. Where it names a
    class, it is right.
    """
    if not seen.background:
        return True
    if not seen.teacher and seen.rows >= MANY:
        return True
    ways = loss.columns - 1
    return (
        ways > 1
        and seen.named >= FEWEST
        and _is_guessed(seen.teacher, seen.named, ways)
    )


def _is_guessed(right: int, rows: int, ways: int) -> bool:
    guess = 1 / ways
    spread = math.sqrt(guess * (1 - guess) / rows)
    return right / rows <= guess + spread


def later_faults(loss: Subject, seen: Tally) -> list[Fault]:
    """Faults that may come at any time.

    Args:
        loss: The loss.
        seen: Some of its steps.
    """
    texts = []
    if loss.at_limit:
        texts.append(
            "loss_weight='auto' is at its limit, a million or one over it: "
            "at the student's signal the gradient of the loss is next to "
            "nothing beside that of the student's own losses, or the other "
            'way round. Check the options of the loss, or set a number.'
        )
    if _is_less_accurate(loss, seen):
        texts.append(
            f'on {seen.rows} {loss.rows} the teacher is right on '
            f'{seen.percent("teacher"):.1f} % and the student on '
            f'{seen.percent("student"):.1f} %, so it learns from a worse '
            f'model. {LOOK}; or end the loss earlier, with stop in '
            'DistillScheduleHook.'
        )
    return [
        Fault(False, f'model.distill.{loss.key}: {text}') for text in texts
    ]


def _is_less_accurate(loss: Subject, seen: Tally) -> bool:
    """Whether the student knows more; by luck hardly."""
    if not loss.taught or not seen.labelled or seen.rows < FEWEST:
        return False
    # rows on which both say the same do not decide
    spread = math.sqrt(max(seen.rows - seen.agree, 1))
    return seen.student - seen.teacher > SURE * spread


def config_faults(
    losses: Mapping[str, Any],
    schedules: Mapping[str, LossSchedule],
    length: Mapping[str, float],
) -> list[Fault]:
    """Faults that show before the first step.

    Args:
        losses: The losses by key.
        schedules: Those that have one.
        length: How many ``iter`` and ``epoch`` the run has.
    """
    found = [
        Fault(
            False,
            f'model.distill.{key}: loss_weight is 0, so it trains nothing. '
            'Set a weight, or remove the loss.',
        )
        for key, loss in losses.items()
        if loss.auto is None and loss.loss_weight == 0
    ]
    for key, schedule in schedules.items():
        steps = length.get(schedule.unit, math.inf)
        if schedule.warmup > steps:
            found.append(
                Fault(
                    False,
                    f'DistillScheduleHook.{key}: warmup={schedule.warmup} '
                    f'counts {schedule.unit}s, and the run has {steps}: its '
                    f'weight ends at {schedule.factor(int(steps)):.2g} of '
                    'loss_weight. Set a shorter warm-up, or another unit.',
                )
            )
    return found


def _listed(ranks: list[int]) -> str:
    return ', '.join(map(str, ranks))
