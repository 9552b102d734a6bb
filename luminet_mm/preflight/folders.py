"""Check the contents of class folders and lists of labelled photos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from luminet_mm.preflight.classes import class_folders, class_names
from luminet_mm.preflight.findings import Findings, counted, such_as
from luminet_mm.preflight.images import (
    Each,
    loading_of,
    look_at,
    photo_findings,
    sample_of,
)
from luminet_mm.preflight.leaves import Leaf

# What CustomDataset accepts as photos.
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


def folder_findings(leaf: Leaf, complete: bool, each: Each) -> Findings:
    """Check the class folders.

    Args:
        leaf: A data set with a folder per class.
        complete: Open all photos; by default one of some classes.
        each: Maps a function over the photos.
    """
    findings = Findings()
    root = leaf.photos
    if not leaf.folders and leaf.settings.get('split'):
        root = os.path.join(root, leaf.settings['split'])
    extensions = tuple(leaf.settings.get('extensions') or EXTENSIONS)
    paths, empty = [], []
    for name in class_folders(leaf) or ():
        found = list(
            islice(
                _photos(os.path.join(root, name), extensions),
                None if complete else 1,
            )
        )
        paths += found
        empty += [] if found else [name]
    if not paths:
        findings.add(
            leaf.key,
            True,
            f'no folder in {root} has a photo; photo names end in '
            f'{", ".join(extensions)}',
        )
        return findings
    if empty:
        findings.add(
            leaf.key,
            False,
            f'{counted(len(empty), "class folder")} in {root} without photos, '
            + such_as(empty),
        )
    if not complete:
        paths = [paths[i] for i in sample_of(len(paths))]
    findings += _opened(leaf, paths, each)
    return findings


def _photos(folder: str, extensions: Sequence[str]) -> Iterator[str]:
    """Photos at any depth below a folder, as MMPretrain finds them."""
    for here, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(tuple(extensions)) and name[0] != '.':
                yield os.path.join(here, name)


def list_findings(leaf: Leaf) -> Findings:
    """Check the labels of a list of photos, and that a few photos are there.

    Args:
        leaf: A data set whose file has a photo and a label per line.
    """
    findings = Findings()
    key = f'{leaf.key}.ann_file'
    with open(leaf.ann_file, encoding='utf-8') as file:
        lines = [line.strip() for line in file]
    lines = [line for line in lines if line]
    if not lines:
        findings.add(key, True, f'{leaf.ann_file} has no lines')
        return findings
    if leaf.settings.get('with_label', True):
        parts = [line.rsplit(' ', 1) for line in lines]
        count = len(class_names(leaf))
        wrong = [
            line
            for line, part in zip(lines, parts)
            if len(part) < 2
            or not part[1].isdecimal()
            or (count and int(part[1]) >= count)
        ]
        if wrong:
            numbers = f' of 0 to {count - 1}' if count else ''
            findings.add(
                key,
                True,
                f'{leaf.ann_file}: {len(wrong)} of {len(lines)} lines '
                f'without a label{numbers} at the end, '
                + such_as(map(repr, wrong)),
            )
            return findings
        lines = [part[0] for part in parts]
    paths = [
        os.path.join(leaf.photos, lines[i]) for i in sample_of(len(lines))
    ]
    findings += _opened(leaf, paths, lambda look, of: [look(p) for p in of])
    return findings


def _opened(leaf: Leaf, paths: Sequence[str], each: Each) -> Findings:
    loading = loading_of(leaf)
    photos = each(partial(look_at, loading=loading), paths)
    return photo_findings(leaf.key, photos, [None] * len(photos), loading)
