"""The memory layout in which a student trains: ``student=dict(...)``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from luminet_mm.signals.family import Comparison
from luminet_mm.signals.record import Record

OPTIONS = ('channels_last',)


def student_problems(student: Any) -> list[str]:
    """What is wrong with the block ``student``, a line each.

    Args:
        student: The block; None if there is none.

    Examples:
        >>> student_problems(dict(channels_first=True))
        ['model.student.channels_first: unknown; set channels_last=True']
    """
    if student is None:
        return []
    if not isinstance(student, Mapping):
        return [
            f'model.student: {student!r} is not a block; set '
            'student=dict(channels_last=True), or remove it'
        ]
    return [
        f'model.student.{key}: '
        + (
            f'{value!r}; set True or False'
            if key in OPTIONS
            else 'unknown; set channels_last=True'
        )
        for key, value in student.items()
        if key not in OPTIONS or not isinstance(value, bool)
    ]


@contextmanager
def trained_in(model: Any, images: Tensor) -> Iterator[Tensor]:
    """Let a training pass run in the student's layout, inside the block.

    Each module gives its outputs in the layout of its inputs, so only the
    images are laid out, and no weight. Convolutions that oneDNN cannot train
    there (:func:`breaks_in_channels_last`) get their maps in the usual layout
    and give them back in the other one. The hooks for that live as long as
    the block, so copies of the model (EMA) never carry them.

    Args:
        model: The distiller.
        images: ``(B, C, H, W)``.

    Yields:
        The images for its pass.

    Raises:
        ValueError: If a module reshapes maps as only the usual layout allows.
    """
    if not model.channels_last:
        yield images
        return
    with ExitStack() as stack:
        for module in filter(breaks_in_channels_last, model.modules()):
            before = module.register_forward_pre_hook(_usual_inputs)
            after = module.register_forward_hook(_channels_last_output)
            stack.callback(before.remove)
            stack.callback(after.remove)
        try:
            yield images.contiguous(memory_format=torch.channels_last)
        except RuntimeError as error:
            if 'view size is not compatible' not in str(error):
                raise
            raise ValueError(
                'model.student.channels_last: a part of the student reshapes '
                'maps with view(), which works in the usual layout alone. '
                'Remove the option.'
            ) from error


def breaks_in_channels_last(module: nn.Module) -> bool:
    """Whether oneDNN may write outside of its memory when it trains this.

    Gradients of the weights of strided convolutions of 1x1 do so with AVX2
    kernels (oneDNN 3.12 and 3.13, torch 2.14 and 2.15), where a group's input
    channels are fewer than the 8 numbers of a vector. All that are not a
    multiple of 8 count here.

    Args:
        module: Any module.

    Examples:
        >>> from torch import nn
        >>> [
        ...     breaks_in_channels_last(nn.Conv2d(width, 8, kernel, stride=2))
        ...     for width, kernel in ((4, 1), (64, 1), (4, 3))
        ... ]
        [True, False, False]
    """
    return (
        isinstance(module, nn.Conv2d)
        and set(module.kernel_size) == {1}
        and max(module.stride) > 1
        and module.in_channels // module.groups % 8 != 0
    )


def compared_values(
    model: Any, record: Record, active: Sequence[Comparison]
) -> list:
    """What each loss compares of the student, in the usual layout.

    The layers that a loss trains on maps are not laid out.

    Args:
        model: The distiller.
        record: The student's pass.
        active: What the losses compare.
    """
    values = [record.value(each.student) for each in active]
    return tree_map(_usual, values) if model.channels_last else values


# Functions of the module and not closures: a run's model can be pickled.
def _usual(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value


def _usual_inputs(module: nn.Module, args: tuple) -> Any:
    return tuple(map(_usual, args))


def _channels_last_output(module: nn.Module, args: tuple, output: Any) -> Any:
    return output.contiguous(memory_format=torch.channels_last)
