"""Check that a checkpoint fits the model before any time is spent."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.logging import print_log
from torch import nn

from luminet_mm.config_types import PRETRAINED, is_type
from luminet_mm.files.errors import CheckpointError
from luminet_mm.loading.checkpoint import BESIDE_STUDENT
from luminet_mm.loading.weights import Fit, unwrapped

# If less than this share of a part is loaded, it is the wrong file.
_LEAST = 0.5
# Other keys that load a part from a file, in detectors and Hugging Face.
_STARTS = ('pretrained', 'name_or_path', 'checkpoint')


def report(
    source: str,
    fit: Fit,
    problems: list[str],
    allow_partial: bool,
    random: Sequence[str] = (),
) -> None:
    """Report what was loaded; refuse the file if that is too little.

    Args:
        source: The file and the key that named it.
        fit: What was loaded.
        problems: Keys that should have been loaded and were not.
        allow_partial: Warn instead of raising an error.
        random: Weights that are in no file, see
            :func:`left_random`.

    Raises:
        CheckpointError: On every rank, if any rank refuses the file.
    """
    text = f'{source}: {_share(fit)}'
    left = [*fit.reshaped, *fit.missing]
    fault = ''
    if problems:
        fault = (
            f'{source} does not fit the model: {_share(fit)}.'
            f'{_listed(fit, problems)}\nGive the file that belongs to this '
            'config. To take what fits and leave the rest random, add '
            '--allow-partial.'
        )
    elif random:
        fault = (
            f'{source}: the model saves only a part of itself (as LoRA '
            f'does). {random[0]} and {len(random) - 1} more weights are not '
            'in this file, and nothing in the config loads them: they would '
            "be random. Add the init_cfg=dict(type='Pretrained', "
            'checkpoint=...) from its training to that part, or '
            '--allow-partial to leave them random.'
        )
    # the same file, but each machine may have its own copy
    faults = [each for each in all_gather_object(fault) if each]
    if faults and not allow_partial:
        raise CheckpointError(fault or faults[0])
    if random:
        print_log(
            f'{source}: {random[0]} and {len(random) - 1} more weights are in '
            'no file and stay random.',
            'current',
            logging.WARNING,
        )
    if left:
        print_log(
            f'{text}. The rest keeps its initial values:{_listed(fit, left)}',
            'current',
            logging.WARNING,
        )
    else:
        print_log(f'{text}.', 'current')


def missing_weights(model: nn.Module, fit: Fit, last_layer: bool) -> list[str]:
    """Keys of trained tensors that a file should have filled and did not.

    Args:
        model: The model, or its wrapper.
        fit: What the file filled.
        last_layer: Whether the last layer of a classifier may differ.
    """
    model = unwrapped(model)
    return [
        key
        for key in [*fit.reshaped, *fit.missing]
        if _is_trained(key, model)
        and not (last_layer and _is_last_layer(key, fit, model))
    ]


def missing_of_part(part: nn.Module, fit: Fit) -> list[str]:
    """The same for a part that ``init_cfg`` loads from a file.

    Modules that stock configs add to a pretrained network (offsets of
    deformable convolutions, attention blocks, an unused stage) are missing
    from all of its files. So missing keys only count if whole blocks at the
    end of a stage are missing (a ResNet-101 from a ResNet-50's file), or if
    little was loaded at all.
    """
    problems = missing_weights(part, fit, last_layer=True)
    loaded, total = _numbers(fit)
    if loaded < _LEAST * total:
        return problems
    return [
        key
        for key in problems
        if key in fit.reshaped or _is_block_beyond(key, fit.loaded)
    ]


def left_random(fit: Fit, model: Mapping) -> list[str]:
    """Weights that are not in the model's checkpoints and that nothing loads.

    Args:
        fit: What a checkpoint filled.
        model: The config's ``model``.
    """
    whole = {key: model.get(key) for key in ('init_cfg', *_STARTS)}
    if _reads_file(whole):
        return []
    return [
        key for key in fit.unsaved if not _reads_file(model.get(_part(key)))
    ]


def _reads_file(block: Any) -> bool:
    """Whether a part of a config starts from weights in a file."""
    if isinstance(block, Mapping):
        return (
            is_type(block, *PRETRAINED)
            or any(block.get(key) for key in _STARTS)
            or any(map(_reads_file, block.values()))
        )
    if isinstance(block, (list, tuple)):
        return any(map(_reads_file, block))
    return False


def _part(key: str) -> str:
    return key.partition('.')[0]


def _is_trained(key: str, model: nn.Module) -> bool:
    """Whether training changes a tensor, unlike a table the model computes."""
    name = key.rpartition('.')[2]
    if name in ('running_mean', 'running_var'):
        return True
    path, _, name = key.rpartition('.')
    try:
        return name in model.get_submodule(path)._parameters
    except AttributeError:
        return True


def _is_last_layer(key: str, fit: Fit, model: nn.Module) -> bool:
    """Whether a tensor's rows are classes, which differ between data sets."""
    if 'rpn' in key:
        return False
    path = key.rpartition('.')[0]
    classes = None
    for depth in range(key.count('.') + 1):
        head = model.get_submodule('.'.join(key.split('.')[:depth]))
        found = getattr(head, 'num_classes', None)
        if isinstance(found, int) and found > 0:
            classes = found
    if classes is None:
        return False
    if key in fit.reshaped:
        theirs, ours = fit.reshaped[key]
        return len(theirs) == len(ours) and theirs[1:] == ours[1:]
    weight = getattr(model.get_submodule(path), 'weight', None)
    rows = None if weight is None else len(weight)
    return rows in (classes, classes + 1, 4 * classes)


def _is_block_beyond(key: str, loaded: Collection[str]) -> bool:
    """Whether a key is in a numbered block that no loaded key is in."""
    parts = key.split('.')
    for depth, part in enumerate(parts[:-1]):
        if not part.isdigit():
            continue
        row = '.'.join(parts[:depth]) + '.' if depth else ''
        inside = {
            other[len(row) :].split('.')[0]
            for other in loaded
            if other.startswith(row)
        }
        if part not in inside and any(map(str.isdigit, inside)):
            return True
    return False


def is_beside(key: str) -> bool:
    """Whether a key belongs to a module trained with the student."""
    return key.startswith(BESIDE_STUDENT)


def _numbers(fit: Fit) -> tuple[int, int]:
    """How many numbers were loaded, and how many there are."""
    loaded = sum(n for k, n in fit.loaded.items() if not is_beside(k))
    rest = sum(n for k, n in fit.missing.items() if not is_beside(k))
    for key, (_, shape) in fit.reshaped.items():
        size = 1
        for length in shape:
            size *= length
        rest += 0 if is_beside(key) else size
    return loaded, loaded + rest


def _share(fit: Fit) -> str:
    loaded, total = _numbers(fit)
    left = sum(not is_beside(k) for k in [*fit.missing, *fit.reshaped])
    tensors = sum(not is_beside(k) for k in fit.loaded)
    share = 100 * loaded / max(total, 1)
    return (
        f'{tensors:,} of {tensors + left:,} tensors were loaded, '
        f'{share:.1f} % of the numbers'
    )


def _listed(fit: Fit, keys: Collection[str], most: int = 8) -> str:
    lines = fit.lines(dict.fromkeys(keys))
    more = len(lines) - most
    return ''.join(f'\n  {line}' for line in lines[:most]) + (
        f'\n  ... and {more} more' if more > 0 else ''
    )
