"""Say where NaN or inf in a loss came from: images, weights or training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.losses.base.finite import NotFiniteInputError
from luminet_mm.teachers.deviation import broken_weights

SHOWN = 3  # files or weights in one message


def image_names(data_samples: Sequence | None) -> list[str]:
    """What the images of a batch are called: a file, or a number."""
    return [
        str(getattr(sample, 'img_path', None) or f'image {i} of the batch')
        for i, sample in enumerate(data_samples or ())
    ]


def explain(
    error: NotFiniteInputError,
    model: Any,
    inputs: Any,
    data_samples: Sequence | None,
    previous: Sequence[str] = (),
) -> NotFiniteInputError:
    """Find the cause of an error of a loss.

    Args:
        error: What a loss raised.
        model: The distiller.
        inputs: The batch of that step, ``(B, C, H, W)``.
        data_samples: What belongs to the images.
        previous: Names of the images of the step before, to
            which an error that comes late belongs.

    Returns:
        With the cause, or the same where none was found.
    """
    names = [] if error.late else _broken_images(inputs, data_samples)
    if names:
        return error.because(
            f'the images that the networks see hold NaN or inf: '
            f'{_shown(names)}. Look at these files, at the transforms that '
            "change them, and at the data_preprocessor's std."
        )
    for whose, network in _networks(model):
        if error.late and error.both and not whose.startswith('teacher'):
            continue  # what the NaN of the step before has made of it
        entries = broken_weights(network)
        if entries:
            return error.because(
                f'weights of the {whose} are NaN: {_shown(entries)}. '
                + (
                    'Its checkpoint is broken: take another one.'
                    if whose.startswith('teacher')
                    else 'The training has diverged: lower the learning rate '
                    'or loss_weight, or warm the loss up.'
                )
            )
    if error.late and error.both and previous:
        return error.because(
            f'{error}\nThe images of that step were {_shown(previous, 16)}.'
        )
    return error


def _networks(model: Any) -> list[tuple[str, nn.Module]]:
    """The teachers of a distiller and then itself, each with a word for it."""
    teachers = [
        (f'{each.whose} ({each.name})', each.model)
        for each in model.teachers
        if each.model is not None
    ]
    return [*teachers, ('student', model)]


def _broken_images(inputs: Any, data_samples: Sequence | None) -> list[str]:
    """Names of the images of a batch that hold NaN or inf."""
    names = image_names(data_samples)
    return [
        names[i] if i < len(names) else f'image {i} of the batch'
        for i, image in enumerate(_images(inputs))
        if not torch.isfinite(image).all()
    ]


def _images(inputs: Any) -> Iterator[Tensor]:
    if isinstance(inputs, (Tensor, list, tuple)):
        yield from (each for each in inputs if isinstance(each, Tensor))


def _shown(names: Sequence[str], limit: int = SHOWN) -> str:
    more = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {more} more' if more > 0 else '')
