"""Check the images and boxes of a COCO file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from luminet_mm.preflight.coco_table import CocoTable
from luminet_mm.preflight.findings import Findings, counted, such_as

# Boxes up to this many pixels over the edge are rounded, not wrong.
EDGE = 2.0


@dataclass(frozen=True)
class Purpose:
    """What the boxes are used for.

    Args:
        key: The data set's key in the config.
        classes: Its classes.
        trains: Whether they are for training, or for scoring.
        scored: Whether they are compared with predictions.
        masks: Whether masks are needed as well.
        filters: ``filter_cfg``.
    """

    key: str
    classes: Sequence[str]
    trains: bool = True
    scored: bool = False
    masks: bool = False
    filters: dict | None = None


def used_images(table: CocoTable, purpose: Purpose) -> np.ndarray:
    """The images that CocoDataset does not filter out, (I, )."""
    used = np.ones(len(table.names), dtype=bool)
    if not purpose.trains or not purpose.filters:
        return used
    if purpose.filters.get('filter_empty_gt', False):
        used[:] = False
        found = table.image[table.of_classes(purpose.classes)]
        used[found[found >= 0]] = True
    with np.errstate(invalid='ignore'):
        smallest = table.sizes.min(axis=1) if len(used) else np.zeros(0)
        return used & (smallest >= purpose.filters.get('min_size', 0))


def trained_boxes(table: CocoTable, purpose: Purpose) -> np.ndarray:
    """The boxes that are trained on, (A, )."""
    used = np.append(used_images(table, purpose), False)
    return table.kept(purpose.classes) & ~table.crowd & used[table.image]


def box_findings(table: CocoTable, purpose: Purpose) -> Findings:
    """Look for what MMDetection fails on, or silently leaves out.

    Args:
        table: The annotation file.
        purpose: What its boxes are used for.
    """
    findings = Findings()
    key = f'{purpose.key}.ann_file'

    def add(fails, line):
        findings.add(key, fails, f'{table.path}: {line}')

    for name, found in table.broken.items():
        add(
            True,
            f'{len(found)} without a valid {name}, {such_as(found)}; '
            'correct the file',
        )
    if not table.names:
        add(True, 'it has no images')
        return findings
    _check_ids(table, add)
    _check_boxes(table, purpose, add)
    _check_left(table, purpose, add)
    return findings


def _twice(values: Sequence) -> list[str]:
    known = [v for v in values if isinstance(v, (int, float, str))]
    if len(set(known)) == len(known):
        return []
    return [str(each) for each, n in Counter(known).items() if n > 1]


def _check_ids(table: CocoTable, add) -> None:
    for what, ids in (
        ('images', table.image_ids),
        ('annotations', table.ann_ids),
    ):
        twice = _twice(ids)
        if twice:
            add(
                True,
                f'{counted(len(twice), "id")} of {what} more than once, '
                f'{such_as(twice)}; give each its own: the last entry would '
                'replace the others',
            )
    twice = _twice(table.names)
    if twice:
        add(
            False,
            f'{counted(len(twice), "photo")} under several ids, '
            f'{such_as(twice)}',
        )
    unknown = table.image < 0
    if unknown.any():
        add(
            False,
            f'{counted(int(unknown.sum()), "box", "boxes")} with an image_id '
            f'that no image has, {table.such_as(unknown)}; they are left out',
        )
    unknown = table.category < 0
    if unknown.any():
        add(
            False,
            f'{counted(int(unknown.sum()), "box", "boxes")} with a '
            'category_id that no category has, '
            f'{table.such_as(unknown)}; they are left out. If ids are off by '
            'one, all other boxes have the wrong class',
        )


def _check_boxes(table: CocoTable, purpose: Purpose, add) -> None:
    known = table.of_classes(purpose.classes) & (table.image >= 0)
    boxes = np.where(known[:, None], table.boxes, 1.0)
    finite = np.isfinite(boxes).all(axis=1)
    size = boxes[:, 2:].min(axis=1, initial=np.inf)
    with np.errstate(invalid='ignore'):
        flat = known & finite & (size <= 0)
        thin = known & finite & (size > 0) & (size < 1)
        outside = known & finite & (size > 0) & (table.overlap() <= 0)
        empty = known & ~flat & (table.area <= 0)
        over = (boxes[:, :2] + boxes[:, 2:]) - table.sizes_of_boxes()
        beyond = np.maximum(over, -boxes[:, :2]).max(axis=1, initial=-np.inf)
        beyond = known & finite & ~outside & (beyond > EDGE)
    broken = known & ~finite & ~_is_missing(table)
    dropped = 'MMDetection leaves them out'
    for which, fails, what, what_then in (
        (broken, True, 'with NaN or infinity', 'correct or remove them'),
        (flat, False, 'of zero or negative size', dropped),
        (thin, False, 'narrower than a pixel', dropped + _as_shares(table)),
        (empty, False, 'with an area of 0 or less', dropped),
        (outside, False, 'outside their image', dropped),
        (
            beyond,
            False,
            'over the edge of their image',
            'MMDetection clips them' + _as_corners(table, known),
        ),
    ):
        if which.any():
            add(
                fails,
                f'{counted(int(which.sum()), "box", "boxes")} {what}, '
                f'{table.such_as(which)}; {what_then}',
            )


def _is_missing(table: CocoTable) -> np.ndarray:
    """Boxes that are already reported as broken: they are all NaN."""
    if 'annotations.bbox' not in table.broken:
        return np.zeros(len(table), dtype=bool)
    return np.isnan(table.boxes).all(axis=1)


def _as_shares(table: CocoTable) -> str:
    if not len(table):
        return ''
    with np.errstate(invalid='ignore'):
        shares = (np.abs(table.boxes) <= 1).all(axis=1).mean()
    return (
        '. They seem to be fractions of the image, but COCO uses pixels'
        if shares > 0.9
        else ''
    )


def _as_corners(table: CocoTable, known: np.ndarray) -> str:
    """Whether the boxes are corners: then all of them fit their images."""
    low, high = table.boxes[known, :2], table.boxes[known, 2:]
    fit = (high > low) & (high <= table.sizes_of_boxes()[known] + EDGE)
    return (
        '. They seem to be x1, y1, x2, y2, but COCO uses x, y, width, height'
        if fit.all()
        else ''
    )


def _check_left(table: CocoTable, purpose: Purpose, add) -> None:
    """Check what is left to train or score with."""
    used = used_images(table, purpose)
    if not used.any():
        add(True, f'no image is left after filter_cfg={purpose.filters}')
        return
    kept = table.kept(purpose.classes) & (table.image >= 0)
    kept &= np.append(used, False)[table.image]
    trains = kept & ~table.crowd
    if purpose.trains and not trains.any():
        add(
            True,
            f'none of its {counted(len(table), "box", "boxes")} is left to '
            'train on: each is a crowd, of another class, or left out',
        )
        return
    if purpose.scored and not kept.any():
        add(
            True,
            'it has no box to score with, so every score would be -1. Use a '
            'file with boxes, or remove the validation',
        )
        return
    if purpose.masks and (kept & ~table.masked).any():
        which = kept & ~table.masked
        add(
            True,
            f'{counted(int(which.sum()), "box", "boxes")} without a '
            f'segmentation, {table.such_as(which)}; masks are needed here: '
            'remove those boxes, or train without a mask_head',
        )
    if not purpose.trains:
        return
    crowds = kept & table.crowd
    if crowds.sum() > 0.1 * kept.sum():
        add(
            False,
            f'{int(crowds.sum())} of {int(kept.sum())} boxes are crowds '
            f'(iscrowd), {table.such_as(crowds)}; nothing is learnt from '
            'them',
        )
    found = {table.categories[i] for i in np.unique(table.category[trains])}
    absent = [name for name in purpose.classes if name not in found]
    if absent:
        add(
            False,
            f'no box to train on for {len(absent)} of '
            f'{len(purpose.classes)} classes, {such_as(absent)}',
        )
