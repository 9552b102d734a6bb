"""Check a data set of any class through the samples that it returns."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from mmengine.registry import DATASETS

from luminet_mm.preflight.boxes import EDGE
from luminet_mm.preflight.findings import Findings, counted, such_as
from luminet_mm.preflight.images import (
    Each,
    loading_of,
    look_at,
    photo_findings,
)
from luminet_mm.preflight.leaves import Leaf


def built_findings(scope: str | None, leaf: Leaf, each: Each) -> Findings:
    """Build a data set, and check its entries and all its photos.

    Args:
        scope: The config's ``default_scope``.
        leaf: The data set.
        each: Maps a function over the photos.
    """
    findings = Findings()
    settings = copy.deepcopy(leaf.settings)
    if 'pipeline' in settings:
        settings['pipeline'] = []
    try:
        with DATASETS.switch_scope_and_registry(scope or 'mmengine') as found:
            dataset = found.build(settings)
            count = len(dataset)
    except Exception as error:
        findings.add(
            leaf.key,
            True,
            f'it cannot be built: {type(error).__name__}: {error}',
        )
        return findings
    if not hasattr(dataset, 'get_data_info'):
        findings.add(
            leaf.key,
            False,
            f'not checked, since {type(dataset).__name__} has no '
            'get_data_info, which data sets of MMEngine have',
        )
        return findings
    if not count:
        findings.add(leaf.key, True, 'it has no images')
        return findings
    entries = list(_entries(dataset, count))
    classes = len((getattr(dataset, 'metainfo', {}) or {}).get('classes', ()))
    findings += _box_findings(leaf, entries)
    findings += _label_findings(leaf, entries, classes)
    photos = [entry for entry in entries if entry.get('img_path')]
    loading = loading_of(leaf)
    findings += photo_findings(
        leaf.key,
        each(
            partial(look_at, loading=loading),
            [str(entry['img_path']) for entry in photos],
        ),
        [
            (entry['width'], entry['height']) if 'width' in entry else None
            for entry in photos
        ],
        loading,
    )
    return findings


def _entries(dataset: Any, count: int) -> Iterator[dict]:
    """The data set's entry for each image, including those of videos."""
    for index in range(count):
        entry = dataset.get_data_info(index)
        yield from entry.get('images') or [entry]


def _name(entry: dict) -> str:
    return str(entry.get('img_path', entry.get('img_id', 'an image')))


def _label_findings(leaf: Leaf, entries: list[dict], classes: int) -> Findings:
    """Find labels that are not indices into the list of classes."""
    findings = Findings()
    wrong = []
    for entry in entries if classes else ():
        labels = np.ravel(entry.get('gt_label', []))
        labels = np.append(
            labels,
            [each.get('bbox_label', 0) for each in _instances(entry)],
        )
        if ((labels < 0) | (labels >= classes)).any():
            wrong.append(f'{_name(entry)} ({labels.max():g})')
    if wrong:
        findings.add(
            leaf.key,
            True,
            f'{counted(len(wrong), "image")} with a label outside 0 to '
            f'{classes - 1}, {such_as(wrong)}',
        )
    return findings


def _instances(entry: dict) -> list[dict]:
    return [
        each
        for each in entry.get('instances') or ()
        if not each.get('ignore_flag')
    ]


def _box_findings(leaf: Leaf, entries: list[dict]) -> Findings:
    """Find boxes (x1, y1, x2, y2) of zero size, or over the edge."""
    findings = Findings()
    rows = [
        (
            _name(entry),
            *each['bbox'],
            entry.get('width', np.inf),
            entry.get('height', np.inf),
        )
        for entry in entries
        for each in _instances(entry)
        if len(each.get('bbox') or ()) == 4
    ]
    boxed = any('instances' in entry for entry in entries)
    if boxed and not rows and leaf.phase == 'train':
        findings.add(leaf.key, True, 'there is no box to train on')
    if not rows:
        return findings
    x1, y1, x2, y2, width, height = np.array(
        [row[1:] for row in rows], dtype=float
    ).T
    finite = np.isfinite([x1, y1, x2, y2]).all(axis=0)
    with np.errstate(invalid='ignore'):
        over = np.max([x2 - width, y2 - height, -x1, -y1], axis=0) > EDGE
        flat = finite & ((x2 <= x1) | (y2 <= y1))
    for which, fails, what in (
        (~finite, True, 'with NaN or infinity'),
        (flat, True, 'of zero or negative size'),
        (finite & over, False, 'over the edge of their image'),
    ):
        if which.any():
            names = [rows[i][0] for i in np.flatnonzero(which)]
            findings.add(
                leaf.key,
                fails,
                f'{counted(len(names), "box", "boxes")} {what}, '
                + such_as(names),
            )
    return findings
