"""Check the contents of data sets: entries, boxes, photos, labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from mmengine.config import Config

from luminet_mm.preflight.anchors import anchor_findings
from luminet_mm.preflight.boxes import (
    Purpose,
    box_findings,
    trained_boxes,
    used_images,
)
from luminet_mm.preflight.built import built_findings
from luminet_mm.preflight.classes import class_folders, class_names
from luminet_mm.preflight.coco_table import CocoTable, read_table
from luminet_mm.preflight.evaluators import evaluator_configs
from luminet_mm.preflight.findings import Findings
from luminet_mm.preflight.folders import folder_findings, list_findings
from luminet_mm.preflight.images import (
    Each,
    loading_of,
    look_at,
    missing_findings,
    photo_findings,
    sample_of,
)
from luminet_mm.preflight.leaves import Leaf, makes_own_data, type_name
from luminet_mm.preflight.scoring import scoring_findings


def one_by_one(function: Callable, tasks: Sequence) -> list:
    """Run tasks in this process."""
    return [function(task) for task in tasks]


def content_findings(
    cfg: Config,
    leaf: Leaf,
    complete: bool = False,
    each: Each = one_by_one,
) -> Findings:
    """Check the contents of a data set, if its kind is known.

    Args:
        cfg: The whole config.
        leaf: The data set.
        complete: Open all photos and read all masks, for data sets of
            any kind; by default a few photos, for known kinds.
        each: Maps a function over the photos.
    """
    if makes_own_data(leaf):
        return Findings()
    there = not leaf.remote and os.path.isfile(leaf.ann_file)
    if leaf.is_coco and there:
        return _coco_findings(cfg, leaf, complete, each)
    if class_folders(leaf) is not None:
        return folder_findings(leaf, complete, each)
    if complete:
        return built_findings(cfg.get('default_scope'), leaf, each)
    if there and getattr(leaf.cls, '__name__', '') == 'CustomDataset':
        return list_findings(leaf)
    return Findings()


def _coco_findings(
    cfg: Config, leaf: Leaf, complete: bool, each: Each
) -> Findings:
    """Check a COCO file and its photos, see :func:`content_findings`."""
    purpose = purpose_of(cfg, leaf)
    try:
        table = read_table(leaf.ann_file, masks=complete and purpose.masks)
    except ValueError as error:
        return Findings([f'{leaf.key}.ann_file: {error}'])
    findings = box_findings(table, purpose)
    trains = trained_boxes(table, purpose)
    findings.notes.append(
        f'{leaf.key}: {leaf.ann_file}: {len(table.names)} images, '
        f'{len(table)} boxes, {int(trains.sum())} of them to '
        + ('train on' if purpose.trains else 'score with')
    )
    if not purpose.trains:
        findings.attempt(leaf.key, scoring_findings, cfg, leaf)
    else:
        findings.attempt('model', anchor_findings, cfg, leaf, table, trains)
    if leaf.remote and not complete:
        return findings
    used = _chosen(leaf, np.flatnonzero(used_images(table, purpose)))
    names = [table.names[index] for index in used]
    loading = loading_of(leaf)
    key = f'{leaf.key}.data_prefix'
    if not leaf.remote:
        gone = missing_findings(key, leaf.photos, names, loading.skips)
        findings += gone
        if gone.faults and not complete:
            return findings
    rows = used if complete else used[sample_of(len(used))]
    findings += _opened(leaf, table, rows, each)
    return findings


def _chosen(leaf: Leaf, rows: np.ndarray) -> np.ndarray:
    """The images that ``indices`` selects: a number, or positions."""
    indices = leaf.settings.get('indices')
    if isinstance(indices, int):
        return rows[:indices] if indices >= 0 else rows[indices:]
    return rows if indices is None else rows[list(indices)]


def _opened(
    leaf: Leaf, table: CocoTable, rows: np.ndarray, each: Each
) -> Findings:
    """Open photos of a table."""
    loading = loading_of(leaf)
    paths = [join(leaf.photos, table.names[row]) for row in rows]
    photos = each(partial(look_at, loading=loading), paths)
    there = [i for i, photo in enumerate(photos) if not _is_gone(photo)]
    return photo_findings(
        leaf.key,
        [photos[i] for i in there],
        [(table.sizes[rows[i]][0], table.sizes[rows[i]][1]) for i in there],
        loading,
    )


def _is_gone(photo: Any) -> bool:
    return photo.fault == 'no such file'


def join(folder: str, name: str) -> str:
    """A path or a URL below a folder."""
    return f'{folder.rstrip("/")}/{name}' if folder else name


def purpose_of(cfg: Config, leaf: Leaf) -> Purpose:
    """What a data set's boxes are used for."""
    evaluators = evaluator_configs(cfg, leaf.phase)
    scored = leaf.phase != 'train' and any(
        not each.get('format_only') for each in evaluators
    )
    loads = leaf.transform('LoadAnnotations') or {}
    segm = scored and any(
        'segm' in np.ravel(each.get('metric') or 'bbox')
        and type_name(each).endswith('Metric')
        for each in evaluators
    )
    return Purpose(
        key=leaf.key,
        classes=class_names(leaf),
        trains=leaf.phase == 'train',
        scored=scored,
        masks=bool(loads.get('with_mask')) or segm,
        filters=leaf.settings.get('filter_cfg'),
    )
