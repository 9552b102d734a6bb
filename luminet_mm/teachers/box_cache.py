"""A detector's answers for boxes on disk: written once, read by many students.

Files of bytes, ``round_000.npy`` of ``(entries, item)``, and ``cache.json``,
as a cache of logits has them. An entry is an image in one of its views, see
:mod:`luminet_mm.teachers.box_layout`; entry ``view * images + i`` is image i
of ``ids``, and the entries of all files count on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from luminet_mm.datasets.views import (
    FlipViews,
    flips_of,
    made_by,
    resizes_at_random,
    transforms_of,
)
from luminet_mm.teachers.box_layout import BoxAnswers, unpack
from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import BOXES, FORMAT, WRITE, CacheError
from luminet_mm.teachers.cache_header import header_differences
from luminet_mm.teachers.fingerprints import (
    PROBES,
    below,
    file_sizes,
    package_versions,
    pixels,
    plain,
    roots,
    teacher_part,
)

ENTRIES, FILES = 1024, 256
"""Entries of a file at least, and files at most, of a large data set."""


def make_box_header(
    block: Mapping, views: FlipViews, classes: int, boxes: int, jittered: int
) -> dict:
    """Say what a cache of a teacher's boxes belongs to.

    Args:
        block: The teacher's entry in ``model.teacher``.
        views: The training data.
        classes: Number of logits of a box, the background's included.
        boxes: Number of boxes of a view.
        jittered: How many of them are jittered ground truth at most.

    Raises:
        ValueError: If the teacher cannot be told from others.
    """
    total = len(views)
    files = min(-(-total // ENTRIES), FILES)
    return dict(
        format=FORMAT,
        kind=BOXES,
        images=views.images,
        flips=views.flips,
        boxes=boxes,
        jittered=jittered,
        classes=classes,
        entries=-(-total // files),
        rounds=files,
        teacher=teacher_part(block),
        data=box_data_part(views),
        augmentation=box_augmentation_part(views.leaves),
        views=box_view_digests(views, views.flips),
        versions=package_versions(),
        ids=views.ids,
        checksums={},
    )


def box_augmentation_part(leaves: Sequence) -> dict:
    """Say what makes the pixels of a view: how images are read and resized."""
    found = {json.dumps(made_by(transforms_of(leaf))): None for leaf in leaves}
    return dict(pixels=[json.loads(text) for text in found])


def box_data_part(views: FlipViews) -> dict:
    """Say which images there are, and which boxes; in whatever order."""
    prefixes = roots(views.leaves)
    lines, paths = [], []
    for index, name in enumerate(views.ids):
        info = views.info(index)
        boxes = [
            [each.get(key) for key in ('bbox', 'bbox_label', 'ignore_flag')]
            for each in info.get('instances') or ()
        ]
        path = os.fspath(info.get('img_path') or '')
        paths.append(path)
        lines.append(f'{name}\t{below(path, prefixes)}\t{plain(boxes)}\n')
    digest = hashlib.sha256(''.join(sorted(lines)).encode())
    classes = {
        tuple((getattr(leaf, 'metainfo', None) or {}).get('classes') or ())
        for leaf in views.leaves
    }
    return dict(
        classes=[str(name) for name in sorted(classes)[0]],
        images=views.images,
        paths_and_boxes=digest.hexdigest(),
        bytes=file_sizes(sorted(filter(None, paths)), prefixes),
    )


def box_view_digests(views: FlipViews, flips: Sequence[str]) -> dict[str, str]:
    """Hash the pixels of some views, by image and flip."""
    chosen = sorted({i * views.images // PROBES for i in range(PROBES)})
    return {
        f'{views.ids[i]} {flip}'.strip(): pixels(
            views[views.flips.index(flip) * views.images + i]['inputs']
        )
        for i in chosen
        for flip in flips
    }


class BoxCache(TeacherCache):
    """Reads the boxes of a finished cache.

    Args:
        folder: Where it lies.

    Attributes:
        boxes: Number of boxes of a view.
        flips: The views of an image, by their flips.

    Raises:
        CacheError: See :class:`TeacherCache`.
    """

    kind = BOXES

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__(folder)
        self.boxes: int = self.header['boxes']
        self.flips: list[str] = self.header['flips']
        self._places = {
            name: index for index, name in enumerate(self.header['ids'])
        }

    def look_up(self, ids: Sequence[str], flips: Sequence[str]) -> BoxAnswers:
        """What the teacher said about the boxes of some views.

        Args:
            ids: The images'.
            flips: Their flips.

        Returns:
            With ``len(ids)`` views first.

        Raises:
            CacheError: If there is no such view, or a file is read for the
                first time and is damaged.
        """
        entries = np.empty(
            len(ids), dtype=np.dtype([('file', 'i8'), ('row', 'i8')])
        )
        for i, (name, flip) in enumerate(zip(ids, flips, strict=True)):
            entries[i] = divmod(
                self._entry(name, flip), self.header['entries']
            )
        self.check({*entries['file'].tolist()} - self._checked)
        rows = [
            self._open(int(file))[int(row)] for file, row in entries.tolist()
        ]
        return unpack(np.stack(rows), self.boxes, self.classes)

    def _entry(self, name: str, flip: str) -> int:
        if name not in self._places:
            raise CacheError(
                f'{self.folder} does not have image {name!r}; write a cache '
                f'of these data: {WRITE} --out DIR'
            )
        if flip not in self.flips:
            raise CacheError(missing_flips(self.folder, [flip]))
        view = self.flips.index(flip)
        return view * self.images + self._places[name]

    def stale_views(self, leaves: Sequence) -> list[str]:
        """What differs in the flips and sizes of views."""
        made = {
            flip for leaf in leaves for flip in flips_of(transforms_of(leaf))
        }
        lacking = sorted(made - {*self.flips})
        lines = header_differences(
            self.header, dict(augmentation=box_augmentation_part(leaves))
        )
        return [missing_flips(self.folder, lacking)] * bool(lacking) + lines

    def stale_boxes(self, leaves: Sequence) -> list[str]:
        """What differs in images, annotations and views of built data."""
        views = FlipViews(leaves)
        lines = header_differences(
            self.header, dict(data=box_data_part(views))
        )
        if lines:
            return lines
        own = self.header['views']
        now = box_view_digests(views, views.flips)
        changed = [view for view in now if own.get(view) != now[view]]
        if not changed:
            return []
        return [
            f'augmentation: image {changed[0]} has other pixels than the '
            'teacher saw. Its file or the code of a transform changed'
            + ''.join(f'; {line}' for line in self.other_versions())
        ]


def missing_flips(folder: Any, flips: Sequence[str]) -> str:
    """Say which views a cache lacks."""
    shown = ', '.join(flip or 'no flip' for flip in flips)
    return (
        f'{folder} does not have these views: {shown}. Take RandomFlip as it '
        'was when the cache was written'
    )


def notes(leaves: Sequence) -> list[str]:
    """What a run should know of its views, a line each."""
    if not any(resizes_at_random(transforms_of(leaf)) for leaf in leaves):
        return []
    return [
        'images are resized at random, and the teacher saw each at the '
        'largest size alone. Its boxes are moved, its logits stay as they '
        'are'
    ]
