"""The classes of data sets: their names, order and number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from luminet_mm.config_types import is_type
from luminet_mm.preflight.coco_json import read_section
from luminet_mm.preflight.findings import Findings, such_as
from luminet_mm.preflight.leaves import Leaf


def class_names(leaf: Leaf) -> list[str]:
    """The class names that a data set's labels index, if they are known.

    Raises:
        ValueError: If ``classes`` is neither a list of names nor a file.
    """
    if _finds_by_name(leaf):
        return []
    metainfo = leaf.settings.get('metainfo') or {}
    for where, given in (
        ('metainfo.classes', metainfo.get('classes')),
        ('classes', leaf.settings.get('classes')),
    ):
        if given:
            return _given_names(f'{leaf.key}.{where}', given)
    if getattr(leaf.cls, 'METAINFO', {}).get('classes'):
        return list(leaf.cls.METAINFO['classes'])  # type: ignore
    return class_folders(leaf) or []


def _finds_by_name(leaf: Leaf) -> bool:
    """Whether labels are not indices into a list of classes.

    Open-vocabulary detectors read the names themselves; the class list of
    MMDetection's video data sets is not what a tracker predicts.
    """
    return bool(leaf.settings.get('return_classes')) or (
        is_type(dict(type=leaf.cls), 'mmdet.BaseVideoDataset')
    )


def _given_names(key: str, given: Any) -> list[str]:
    if isinstance(given, str) and os.path.isfile(given):
        with open(given, encoding='utf-8') as file:
            return file.read().splitlines()
    if isinstance(given, str):
        raise ValueError(
            f'{key}: {given!r} is neither a list of names nor a file; a '
            f"single class is written ('{given}', ) with a comma"
        )
    if not isinstance(given, (list, tuple)) or not all(
        isinstance(name, str) for name in given
    ):
        raise ValueError(f'{key}: {given!r} is not a list of names')
    return list(given)


def class_folders(leaf: Leaf) -> list[str] | None:
    """The folders that MMPretrain numbers as classes.

    Returns:
        Sorted as in MMPretrain; None if the labels come from
        elsewhere, or the folder is missing.
    """
    from mmpretrain.datasets import CustomDataset, ImageNet

    settings = leaf.settings
    if leaf.cls not in (CustomDataset, ImageNet) or settings.get('ann_file'):
        return None
    if not settings.get('with_label', True) or leaf.remote:
        return None
    folder, split = leaf.photos, settings.get('split') or ''
    if leaf.cls is ImageNet and split:
        if split == 'test' or os.path.isfile(
            os.path.join(leaf.root, 'meta', f'{split}.txt')
        ):
            return None
        folder = folder if leaf.folders else os.path.join(leaf.root, split)
    if not os.path.isdir(folder):
        return None
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def class_findings(leaves: Sequence[Leaf]) -> Findings:
    """Compare the classes of all data sets with those of the first.

    Labels are numbers: a missing folder, or another order, changes the meaning
    of every later label, and nothing else would notice.

    Args:
        leaves: Those of training first.
    """
    findings = Findings()
    first: dict[str, tuple[Leaf, list[str]]] = {}
    for leaf in leaves:
        try:
            names = class_names(leaf)
        except ValueError as error:
            findings.faults.append(str(error))
            continue
        # ImageNet's own list has 'crane' twice
        own = names != list(
            getattr(leaf.cls, 'METAINFO', {}).get('classes', ())
        )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice and own:
            findings.add(
                f'{leaf.key}.metainfo.classes',
                leaf.is_coco,
                f'{such_as(map(repr, twice))} twice; name every class once',
            )
        folders = class_folders(leaf)
        if folders and len(folders) != len(names):
            findings.add(
                leaf.key,
                True,
                f'{leaf.photos} has {len(folders)} folders and the config '
                f'names {len(names)} classes; a folder is a class',
            )
        for what, found in (('folders', folders), ('classes', names)):
            if not found:
                continue
            other, theirs = first.setdefault(what, (leaf, found))
            line = difference(what, found, theirs, leaf, other)
            if line:
                findings.add(leaf.key, True, line)
                break
    return findings


def difference(
    what: str,
    names: Sequence[str],
    theirs: Sequence[str],
    leaf: Leaf,
    other: Leaf,
) -> str:
    """Say how two lists of classes differ; '' if they do not."""
    wrong = first_difference(names, theirs)
    if not wrong:
        return ''
    if what == 'folders':
        return (
            f'the folders in {leaf.photos} differ from those in '
            f'{other.photos}: {wrong}. A folder is a class and its label is '
            'its alphabetical position, so both need the same folders, '
            'including empty ones'
        )
    return (
        f'its classes differ from those of {other.key}: {wrong}. A label is '
        'an index into this list, so set metainfo=dict(classes=(...)) to the '
        'same names in the same order'
    )


def first_difference(names: Sequence[str], theirs: Sequence[str]) -> str:
    """The first difference of two lists of names; '' if they are equal."""
    missing = [name for name in theirs if name not in names]
    further = [name for name in names if name not in theirs]
    parts = [
        f'{verb} {such_as(map(repr, found))}'
        + (f' ({len(found)} in all)' if len(found) > 3 else '')
        for verb, found in (('without', missing), ('with', further))
        if found
    ]
    if not parts:
        parts = [
            f'number {index} is {a!r}, not {b!r}'
            for index, (a, b) in enumerate(zip(names, theirs))
            if a != b
        ][:1]
    if not parts and len(names) != len(theirs):
        parts = [f'{len(names)}, not {len(theirs)}']
    return ', '.join(parts)


def built_differences(datasets: Sequence[Any]) -> list[str]:
    """Compare the classes of built data sets, as :func:`class_findings`."""
    first: dict[str, tuple[str, list[str]]] = {}
    lines = []
    for dataset in datasets:
        metainfo = getattr(dataset, 'metainfo', None) or {}
        place = (
            getattr(dataset, 'ann_file', '')
            or getattr(dataset, 'img_prefix', '')
            or type(dataset).__name__
        )
        for what, found in (
            ('folders', getattr(dataset, 'folder_to_idx', None)),
            ('classes', metainfo.get('classes')),
        ):
            if not found or isinstance(found, str):
                continue
            other, theirs = first.setdefault(what, (place, list(found)))
            wrong = first_difference(list(found), theirs)
            if wrong:
                lines.append(
                    f'{place}: its {what} differ from those of {other}: '
                    f'{wrong}. A label is an index into this list: give both '
                    'data sets the same classes in the same order'
                )
                break
    return lines


def wrong_categories(path: str, classes: Sequence[str]) -> list[str]:
    """Compare the categories of a COCO file with the configured classes."""
    needed = list(dict.fromkeys(classes))
    if not needed:
        return []
    try:
        entries = read_section(path, 'categories')
    except (ValueError, OSError) as error:
        return [str(error)]
    ids = [repr(entry['id']) for entry in entries]
    twice = [key for key in dict.fromkeys(ids) if ids.count(key) > 1]
    if twice:
        return [
            f'{path} has two categories with the id {such_as(twice)}; give '
            'every category its own id'
        ]
    names = [entry.get('name') for entry in entries]
    missing = [name for name in needed if name not in names]
    if missing:
        shown = ', '.join(missing[:8]) + (', ...' if len(missing) > 8 else '')
        there = ', '.join(map(str, names[:8])) or 'none at all'
        return [
            f'{path} lacks {len(missing)} of {len(needed)} needed '
            f'categories: {shown} (it has {there}); set metainfo=dict('
            "classes=(...)) to the file's names, or use the right file"
        ]
    found = [name for name in names if name in needed]
    if found == needed:
        return []
    # CocoDataset numbers labels in the file's order, whatever `classes` says:
    # a teacher with another order would teach the wrong classes.
    index = next(
        (i for i, (a, b) in enumerate(zip(found, needed)) if a != b),
        len(needed),
    )
    return [
        f'{path} lists its categories in a different order from '
        f'metainfo.classes, or twice: number {index} is {found[index]!r} in '
        'the file'
        + (
            f' and {needed[index]!r} in the config'
            if index < len(needed)
            else ''
        )
        + '; labels follow the file, so put metainfo=dict(classes=(...)) '
        'in its order'
    ]
