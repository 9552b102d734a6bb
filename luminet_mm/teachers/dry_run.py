"""Dry runs: models see a random image before anything is trained.

Losses build their connectors from what they answer, and a teacher that is made
fast has to answer as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from luminet_mm.signals.family import Size
from luminet_mm.signals.signal import MissingSignal
from luminet_mm.teachers.inputs import image_channels

Answer = TypeVar('Answer')


_SIZE = (
    'model.dry_run_size to the size of the training images, as in '
    'dry_run_size=224 or (height, width)'
)


class DryRunError(ValueError):
    """A model does not run on the image of a dry run."""


def noise(model: nn.Module, size: Size) -> Tensor:
    """Two random images for a model, the same each time, ``(2, C, H, W)``."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, image_channels(model), *size, generator=generator)


def dry_sizes(
    models: Sequence[nn.Module], usual: Sequence[Size], wish: Size | None
) -> list[Size]:
    """Sizes of images for a dry run, in the order to try them.

    Args:
        models: Those that see the image.
        usual: Heights and widths, the likely first.
        wish: ``model.dry_run_size`` of the config.

    Returns:
        The wish alone, where there is one; else the sizes, made
        multiples of what all models pad to.
    """
    if wish is not None:
        return [wish]
    divisor = math.lcm(
        *(
            getattr(each.data_preprocessor, 'pad_size_divisor', 1)
            for each in models
            if hasattr(each, 'data_preprocessor')
        )
    )
    rounded = [
        (-(-height // divisor) * divisor, -(-width // divisor) * divisor)
        for height, width in usual
    ]
    return list(dict.fromkeys(rounded))


def read_size(size: Any) -> Size | None:
    """The option ``model.dry_run_size`` as height and width.

    Raises:
        ValueError: If it is neither a side nor a height and a width.
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else size
    if (
        not isinstance(pair, (list, tuple))
        or len(pair) != 2
        or not all(type(each) is int and each > 0 for each in pair)
    ):
        raise ValueError(
            f'model.dry_run_size: {size!r}; set the side of the square images '
            'of the dry run in pixels, such as 224, or (height, width), or '
            'leave it out.'
        )
    return pair[0], pair[1]


@contextmanager
def said_of(whose: str, model: nn.Module, image: Tensor) -> Iterator[None]:
    """Let errors of a dry run say so, and of which model.

    Raises:
        DryRunError: In place of what a model raises that cannot run.
    """
    try:
        yield
    except (MissingSignal, DryRunError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        height, width = image.shape[-2:]
        raise DryRunError(
            f'dry run: the {whose} ({type(model).__name__}) does not run on '
            f'random images of {height}x{width} pixels and {image.shape[1]} '
            f'channel(s): {type(error).__name__}: {error}'
        ) from error


def first_that_runs(
    sizes: Iterable[Size], run: Callable[[Size], Answer]
) -> Answer:
    """The answer to the first size of images on which the models run.

    Raises:
        DryRunError: If there is none.
    """
    errors: list[DryRunError] = []
    for size in sizes:
        try:
            return run(size)
        except DryRunError as error:
            errors.append(error)
            if len(errors) > 2 and _alike(errors[-3:]):
                raise DryRunError(
                    f'{errors[0]}\nImages of other sizes give the same error, '
                    'so the cause is probably not the size but the config: '
                    "layers that do not fit together, such as a head's "
                    'in_channels. Otherwise, set '
                    f'{_SIZE}.'
                ) from errors[0].__cause__
    more = ''
    if len(errors) > 1:
        more = f'\n{len(errors)} sizes were tried. The last: {errors[-1]}'
    raise DryRunError(
        f'{errors[0]}{more}\nSet {_SIZE}, if it runs on those.'
    ) from errors[0]


def _alike(errors: Sequence[DryRunError]) -> bool:
    return len({str(error.__cause__) for error in errors}) == 1
