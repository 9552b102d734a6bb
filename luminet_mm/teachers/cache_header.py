"""What a teacher cache says of itself, in ``cache.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from luminet_mm.datasets.replay import ReplayDataset
from luminet_mm.teachers.cache_files import (
    ANEW,
    BOXES,
    FORMAT,
    LOGITS,
    UNCHECKED,
    WHOLE,
    CacheError,
    file_shape,
    open_file,
)
from luminet_mm.teachers.fingerprints import (
    augmentation_part,
    data_part,
    differences,
    package_versions,
    teacher_part,
    view_digests,
)
from luminet_mm.teachers.row_forms import (
    USAGE,
    FormError,
    RowForm,
    is_form,
)

# Entries of a header that one cache has in common, however many rounds.
BELONGS: dict[str, tuple[str, ...]] = {
    LOGITS: (
        'dtype',
        'classes',
        'teacher',
        'data',
        'augmentation',
        'views',
    ),
    BOXES: (
        'boxes',
        'jittered',
        'classes',
        'flips',
        'teacher',
        'data',
        'augmentation',
        'ids',
        'entries',
        'rounds',
        'views',
    ),
}
SHOWN = 4  # differences in one message
LARGEST = 1 << 24  # bytes of a header


def make_header(
    block: Mapping,
    dataset: ReplayDataset,
    leaves: Sequence,
    classes: int,
    dtype: str = 'float32',
) -> dict:
    """Say what a cache of a teacher's logits belongs to.

    Args:
        block: The teacher's entry in ``model.teacher``.
        dataset: The training data.
        leaves: The data sets inside it, without wrappers.
        classes: Number of logits of an image.
        dtype: A form of :mod:`luminet_mm.teachers.row_forms`.

    Raises:
        ValueError: If the views cannot be replayed, or there is no such form
            for so many classes.
    """
    try:
        RowForm(dtype, classes)
    except FormError as error:
        raise CacheError(f'--dtype {dtype}: {error}') from None
    return dict(
        format=FORMAT,
        images=len(dataset),
        classes=classes,
        rounds=dataset.rounds,
        dtype=dtype,
        teacher=teacher_part(block),
        data=data_part(dataset, leaves),
        augmentation=augmentation_part(dataset.config, dataset.seed),
        views=view_digests(dataset),
        versions=package_versions(),
        checksums={},
    )


def _count(value: Any) -> bool:
    return isinstance(value, int) and value > 0 and value is not True


def _count_or_none(value: Any) -> bool:
    return value == 0 or _count(value)


def _part(value: Any) -> bool:
    return isinstance(value, dict)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) for each in value
    )


def _texts_by_round(value: Any) -> bool:
    return isinstance(value, dict) and all(
        re.fullmatch('[0-9]{1,9}', key) and isinstance(text, str)
        for key, text in value.items()
    )


Fields = dict[str, tuple[str, Callable[[Any], bool]]]
# What a header has, and how it has to be.
_COMMON: Fields = dict(
    images=('a number from 1 up', _count),
    classes=('a number from 1 up', _count),
    rounds=('a number from 1 up', _count),
    teacher=('a dict', _part),
    data=(
        'a dict with the names of the classes',
        lambda value: _part(value) and isinstance(value.get('classes'), list),
    ),
    augmentation=('a dict', _part),
    views=('a dict', _part),
    versions=('a dict', _part),
    checksums=('a dict of texts by round', _texts_by_round),
)
FIELDS: dict[str, Fields] = {
    LOGITS: dict(
        dtype=(USAGE, is_form),
        **_COMMON,
    ),
    BOXES: dict(
        boxes=('a number from 1 up', _count),
        jittered=('a number from 0 up', _count_or_none),
        entries=('a number from 1 up', _count),
        flips=('a list of texts', _texts),
        ids=('a list of texts', _texts),
        **_COMMON,
    ),
}


def read_header(folder: Path, name: str = WHOLE) -> dict:
    """Read what a cache belongs to.

    Args:
        folder: The cache's.
        name: :data:`WHOLE` or :data:`UNFINISHED`.

    Returns:
        With ``format`` and all of :data:`FIELDS`; of a cache of the
        format before, ``checksums`` is empty.

    Raises:
        FileNotFoundError: If there is no such file.
        CacheError: If it cannot be read; names what is wrong and the fix.
    """
    path = folder / name
    problem, text = '', b''
    header: Any = None
    try:
        with open_file(path) as file:
            text = file.read(LARGEST)
        header = json.loads(text.decode('utf-8'))
    except FileNotFoundError:
        raise
    except CacheError:
        raise
    except OSError as error:
        problem = str(error)
    except (ValueError, RecursionError) as error:
        problem = str(error) if text else 'it is empty'
    if not problem and not isinstance(header, dict):
        problem = f'it is a {type(header).__name__}, not a dict'
    if not problem:
        problem = _field_problem(header)
    if problem:
        raise CacheError(f'{path} cannot be read ({problem}); {ANEW}')
    return header


def _field_problem(header: dict) -> str:
    if 'format' not in header:
        return 'it has no format'
    if header['format'] == UNCHECKED:
        header['checksums'] = {}
    elif header['format'] != FORMAT:
        return ''  # it may have other fields
    kind = header.get('kind', LOGITS)
    if not isinstance(kind, str) or kind not in FIELDS:
        return f'kind is not one of {", ".join(FIELDS)}'
    for key, (what, fits) in FIELDS[kind].items():
        if key not in header:
            return f'it has no {key}'
        if not fits(header[key]):
            return f'{key} is not {what}'
    if kind == LOGITS:
        try:
            RowForm(header['dtype'], header['classes'])
        except FormError as error:
            return f'dtype: {error}'
    return ''


def header_differences(header: Mapping, parts: Mapping[str, Any]) -> list[str]:
    """What differs between a header and some parts of another, in words."""
    lines = [
        line
        for name, part in parts.items()
        for line in differences(name, header.get(name), part)
    ]
    more = len(lines) - SHOWN
    return lines[:SHOWN] + [f'and {more} more'] * (more > 0)


def summary(folder: Path, header: Mapping) -> str:
    """What a whole cache has, in words."""
    if header.get('kind') == BOXES:
        size = file_shape(header)[0][1] / 1000
        return (
            f'{folder} is whole: {header["images"]} images, '
            f'{len(header["flips"])} views of each, {header["boxes"]} '
            f'boxes of a view with {header["classes"]} logits each, '
            f"{size:.1f} kB a view; the teacher's accuracy on the boxes "
            'of objects that were written now: '
            f'{header.get("top1", "not known")}'
        )
    return (
        f'{folder} is whole: {header["images"]} images, '
        f'{header["rounds"]} views of each, {header["classes"]} logits in '
        f"{header['dtype']}; the teacher's accuracy/top1 on the views "
        f'that were written now: {header.get("top1", "not known")}'
    )
