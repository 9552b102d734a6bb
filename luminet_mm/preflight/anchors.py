"""Compare the boxes of a data set with a detector's anchors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from mmengine.config import Config
from mmengine.registry import TASK_UTILS

from luminet_mm.preflight.coco_table import CocoTable
from luminet_mm.preflight.findings import Findings
from luminet_mm.preflight.leaves import Leaf, type_name
from luminet_mm.preflight.resizing import resizings

# Enough boxes to know the shares to within a percent.
SAMPLE = 20_000
SEARCH = 4_000
# When to warn: the share of boxes that nothing matches, and the gain from
# other anchors. COCO's small boxes typically lose a few percent.
LOST, GAIN = 0.2, 0.15


@dataclass(frozen=True)
class Matching:
    """Anchors, and when an assigner matches one to a box.

    Args:
        key: The generator's key in the config.
        generator: Its block.
        positive: ``pos_iou_thr``.
        lowest: The overlap that the best anchor of a box needs.
    """

    key: str
    generator: dict
    positive: float
    lowest: float


def matchings(model: dict) -> Iterator[Matching]:
    """The anchors of a detector whose assigner compares overlaps.

    Args:
        model: The config's ``model``.
    """
    settings = model.get('train_cfg') or {}
    for name, block in (
        ('rpn_head', settings.get('rpn') or {}),
        ('bbox_head', settings),
    ):
        head = model.get(name)
        generator = head.get('anchor_generator') if _is_block(head) else None
        assigner = block.get('assigner')
        if not _is_block(generator) or not _is_block(assigner):
            continue
        if type_name(assigner) != 'MaxIoUAssigner':
            continue
        positive = float(assigner['pos_iou_thr'])
        lowest = positive
        if assigner.get('match_low_quality', True):
            lowest = min(positive, float(assigner.get('min_pos_iou', 0.0)))
        yield Matching(
            f'model.{name}.anchor_generator', generator, positive, lowest
        )


def _is_block(value: Any) -> TypeGuard[dict]:
    return isinstance(value, dict)


def anchor_findings(
    cfg: Config, leaf: Leaf, table: CocoTable, trains: np.ndarray
) -> Findings:
    """Report the share of boxes that no anchor matches.

    Args:
        cfg: The whole config.
        leaf: The training data.
        table: Its annotation file.
        trains: Which boxes are trained on, (A, ).
    """
    findings = Findings()
    model = cfg.get('model')
    ways = resizings(leaf)
    rows = np.flatnonzero(trains)
    if not _is_block(model) or not ways or not len(rows):
        return findings
    rng = np.random.default_rng(0)
    rows = rng.permutation(rows)[:SAMPLE]
    boxes = resized_boxes(table, rows, ways)
    scope = cfg.get('default_scope')
    for matching in matchings(model):
        best = best_overlaps(boxes, *_anchors(matching.generator, scope))
        poor, lost = _shares(best, matching)
        line = (
            f'{poor:.0%} of the boxes have no anchor that overlaps by '
            f'pos_iou_thr={matching.positive:g} after the resize'
        )
        if matching.lowest < matching.positive:
            line += (
                f' and get only the best one, {lost:.1%} get none at all '
                f'(min_pos_iou={matching.lowest:g})'
            )
        worst = np.zeros(len(table), dtype=bool)
        worst[rows[best < max(matching.lowest, best.min() + 1e-6)]] = True
        line += f', {table.such_as(worst)}'
        proposal, then = propose(matching, boxes[:SEARCH], scope)
        gain = poor - then[0] + lost - then[1]
        if proposal and gain > 0.02:
            line += (
                f'; {_shown(proposal)} would leave {then[0]:.0%} and '
                f'{then[1]:.1%}'
            )
        if lost > LOST or gain > GAIN:
            findings.add(matching.key, False, f'{table.path}: {line}')
        else:
            findings.notes.append(f'{matching.key}: {table.path}: {line}')
    return findings


def unmatched(
    matching: Matching, boxes: np.ndarray, scope: str | None
) -> tuple[float, float]:
    """Shares of boxes with only their best anchor, and with none at all.

    Args:
        matching: The anchors.
        boxes: x1, y1, x2, y2 as in training, (N, 4).
        scope: Where the generator's type is looked up.
    """
    anchors = _anchors(matching.generator, scope)
    return _shares(best_overlaps(boxes, *anchors), matching)


def _shown(proposal: dict) -> str:
    return ', '.join(f'{name}={value!r}' for name, value in proposal.items())


def _shares(best: np.ndarray, matching: Matching) -> tuple[float, float]:
    poor = float((best < matching.positive).mean())
    return poor, float((best < matching.lowest).mean())


def resized_boxes(
    table: CocoTable, rows: np.ndarray, ways: Sequence
) -> np.ndarray:
    """Boxes as in training: x1, y1, x2, y2; each with one of the resizes.

    Args:
        table: The annotation file.
        rows: Which boxes, (N, ).
        ways: The resizes.

    Returns:
        (N, 4).
    """
    sizes = table.sizes_of_boxes()[rows]
    boxes = table.boxes[rows]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    corners = np.clip(corners, 0, np.tile(sizes, 2))
    which = np.arange(len(rows)) % len(ways)
    for index, way in enumerate(ways):
        mine = which == index
        corners[mine] *= np.tile(way.factors(sizes[mine]), 2)
    return corners


def _anchors(
    generator: dict, scope: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Anchors at one position of each level, and the levels' strides."""
    with TASK_UTILS.switch_scope_and_registry(scope or 'mmengine') as found:
        built = found.build(copy.deepcopy(generator))
    anchors = [each.numpy() for each in built.base_anchors]
    strides = [
        np.tile(np.array(stride, float), (len(level), 1))
        for stride, level in zip(built.strides, anchors)
    ]
    return np.concatenate(anchors).astype(float), np.concatenate(strides)


def best_overlaps(
    boxes: np.ndarray, anchors: np.ndarray, strides: np.ndarray
) -> np.ndarray:
    """Largest overlap of each box with any anchor of the grid.

    Args:
        boxes: x1, y1, x2, y2, (N, 4).
        anchors: Those at one position, (A, 4).
        strides: Stride of each one's grid, (A, 2).

    Returns:
        np.ndarray: Intersection over union, (N, ).
    """
    best = np.zeros(len(boxes))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for anchor, stride in zip(anchors, strides):
        middle = (anchor[:2] + anchor[2:]) / 2
        place = np.maximum(np.round((centres - middle) / stride), 0) * stride
        low = np.maximum(boxes[:, :2], place + anchor[:2])
        high = np.minimum(boxes[:, 2:], place + anchor[2:])
        inside = np.maximum(high - low, 0).prod(axis=1)
        area = (anchor[2:] - anchor[:2]).prod()
        best = np.maximum(best, inside / (areas + area - inside))
    return best


def propose(
    matching: Matching, boxes: np.ndarray, scope: str | None
) -> tuple[dict, tuple[float, float]]:
    """Look for scales and ratios, as many as now, that match more boxes.

    Returns:
        Settings of the generator, or none if it uses others than
            scales; and the shares of unmatched boxes with them.
    """
    generator = matching.generator
    name = 'octave_base_scale' if 'octave_base_scale' in generator else ''
    name = 'scales' if generator.get('scales') else name
    if not name or 'ratios' not in generator:
        return {}, (1.0, 1.0)
    shapes = (boxes[:, 3] - boxes[:, 1]) / (boxes[:, 2] - boxes[:, 0])
    count = len(generator['ratios'])
    middle = (np.arange(count) + 0.5) / count
    ratios = [
        list(generator['ratios']),
        [float(f'{each:.2g}') for each in np.quantile(shapes, middle)],
    ]
    found = []
    for step in range(-6, 5):
        scales = np.array(generator[name]) * 2.0 ** (step / 2)
        rounded = [float(f'{each:.2g}') for each in np.ravel(scales)]
        for shape in ratios:
            proposal = {
                name: rounded if name == 'scales' else rounded[0],
                'ratios': shape,
            }
            anchors = _anchors({**generator, **proposal}, scope)
            best = best_overlaps(boxes, *anchors)
            shares = _shares(best, matching)
            found.append((sum(shares), -best.mean(), proposal, shares))
    *_, proposal, shares = min(found, key=lambda each: each[:2])
    return proposal, shares
