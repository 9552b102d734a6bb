"""Find NaN and inf in the inputs of losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class NotFiniteInputError(FloatingPointError):
    """A loss was given NaN or inf.

    Args:
        name: Start of the message.
        reason: The rest of the message.
        both: Whether both student and teacher hold NaN or inf.
        late: Whether the values are from the previous step.
    """

    def __init__(
        self, name: str, reason: str, both: bool = False, late: bool = False
    ) -> None:
        super().__init__(f'{name}: {reason}')
        self.name, self.both, self.late = name, both, late

    def because(self, reason: str) -> NotFiniteInputError:
        """The same error with another reason."""
        reason = reason.removeprefix(f'{self.name}: ')
        return type(self)(self.name, reason, self.both, self.late)


class FiniteCheck:
    """Raises if values hold NaN or inf, without making the host wait for CUDA.

    On a CPU each call is checked at once. On CUDA reading a value would stall
    the queue, so the flags are copied to pinned memory during the step and
    read at the next call: the error comes one step late.
    """

    def __init__(self, what: str = 'logits') -> None:
        self.what = what
        self._pending: tuple[Tensor, torch.cuda.Event] | None = None

    def __deepcopy__(self, memo) -> FiniteCheck:
        return type(self)(self.what)  # an EMA copy checks its own values

    def __getstate__(self) -> dict:
        # a CUDA event cannot be pickled
        return {'what': self.what, '_pending': None}

    def __call__(
        self, name: str, student: Sequence[Tensor], teacher: Sequence[Tensor]
    ) -> None:
        """Check a step's values, or on CUDA those of the previous step.

        Args:
            name: Start of the error message.
            student: The student's tensors.
            teacher: The teacher's tensors; empty without a teacher.

        Raises:
            FloatingPointError: A side holds NaN or inf.
        """
        if self._pending is not None:
            host, event = self._pending
            event.synchronize()
            self._pending = None
            self._report(name, host, ' of the previous step')
        ours = _all_finite(student)
        # self-distillation has no teacher: count it as finite
        theirs = _all_finite(teacher) if teacher else torch.ones_like(ours)
        flags = torch.stack([ours, theirs])
        if self._deferred(flags):
            self._pending = self._start_copy(flags)
        else:
            self._report(name, flags)

    @staticmethod
    def _deferred(flags: Tensor) -> bool:
        return flags.device.type == 'cuda'

    @staticmethod
    def _start_copy(flags: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        host = torch.empty(flags.shape, dtype=torch.bool, pin_memory=True)
        host.copy_(flags, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host, event

    def _report(self, name: str, finite: Tensor, when: str = '') -> None:
        student, teacher = finite.tolist()
        if not student and not teacher:
            reason = (
                f"the student's and the teacher's {self.what}{when} hold NaN "
                'or inf. The teacher does not train, so the likely cause is '
                'an image: check the data and their transforms.'
            )
        elif not teacher:
            reason = (
                f"the teacher's {self.what}{when} hold NaN or inf. "
                'Check its checkpoint and its input normalisation; if it runs '
                'in float16, use bfloat16 or float32.'
            )
        elif not student:
            reason = (
                f"the student's {self.what}{when} hold NaN or inf. "
                'The training diverged or float16 overflowed: lower the '
                'learning rate or loss_weight, warm the loss up, or use '
                'bfloat16.'
            )
        else:
            return
        both = not student and not teacher
        raise NotFiniteInputError(name, reason, both, late=bool(when))


def _all_finite(tensors: Sequence[Tensor]) -> Tensor:
    flags = [torch.isfinite(tensor.detach()).all() for tensor in tensors]
    return torch.stack(flags).all()
