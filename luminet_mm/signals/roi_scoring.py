"""Run only as much of a two-stage detector as the asked signals need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.necks import FPN
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor, nn

from luminet_mm.signals.mask_heads import is_mask, score_masks
from luminet_mm.signals.roi_heads import bbox_heads, is_cascade, roi_parts
from luminet_mm.signals.rpn_rows import as_rows
from luminet_mm.signals.signal import (
    Signal,
    read_signal,
    tap_output,
    tap_signals,
)

RPN_PARTS = ('cls_score', 'bbox_pred')
Rows = int | tuple[str, int]
"""The student's RoIs: of a stage, or of its masks, ``('mask', stage)``."""


@contextmanager
def tap_modules(
    model: BaseDetector, signals: list[Signal], store: dict
) -> Iterator[None]:
    """Tap what is a module's output: backbone, neck, RPN, dotted paths."""
    rpn_signals = [s for s in signals if s.part == 'rpn' and not s.path]
    rpn: dict = {}
    with ExitStack() as stack:
        if rpn_signals:
            stack.enter_context(tap_output(model.rpn_head, rpn, 'outputs'))
        maps = ('backbone', 'neck')
        inner = [s for s in signals if s.path or s.part in maps]
        stack.enter_context(tap_signals(model, inner, store))
        yield
    if 'outputs' in rpn:
        for signal in rpn_signals:
            index = RPN_PARTS.index(signal.field)
            store[signal.name] = rpn['outputs'][index]


@contextmanager
def _without_branch(head: BBoxHead, branch: str) -> Iterator[None]:
    """Let a box head do without its branch ``cls`` or ``reg``."""
    switch = f'with_{branch}'
    if not hasattr(head, switch):  # a head of another make, as SABL's
        yield
        return
    was = getattr(head, switch)
    setattr(head, switch, False)
    kept = {
        name: head._modules[name]
        for name in (f'{branch}_convs', f'{branch}_fcs')
        if name in head._modules
    }
    for name in kept:
        head._modules[name] = nn.ModuleList()
    try:
        yield
    finally:
        setattr(head, switch, was)
        head._modules.update(kept)


@contextmanager
def _without_extra_levels(model: BaseDetector) -> Iterator[None]:
    """Let an FPN stop at the levels that the RoI extractors read."""
    neck = model.neck
    if type(neck).forward is not FPN.forward or _branches(model.roi_head):
        yield
        return
    extractors = [
        each
        for name in ('bbox_roi_extractor', 'mask_roi_extractor')
        for each in roi_parts(model, name)
    ]
    read = max(extractor.num_inputs for extractor in extractors)
    built = neck.backbone_end_level - neck.start_level
    num_outs = neck.num_outs
    neck.num_outs = min(num_outs, max(read, built))
    try:
        yield
    finally:
        neck.num_outs = num_outs


def _branches(roi_head: nn.Module) -> dict[str, nn.Module]:
    """What scores RoIs beside the box heads, as in HTC and SCNet."""
    names = dict(semantic_feat='semantic', glbctx_feat='glbctx')
    return {
        key: getattr(roi_head, f'{name}_head')
        for key, name in names.items()
        if getattr(roi_head, f'with_{name}', False)
    }


class Outer(NamedTuple):
    """What a detector says of images, before it is asked about RoIs.

    Attributes:
        values: Signals of backbone, neck and RPN, by name.
        feats: Maps for the RoI head; empty if it is not asked.
    """

    values: dict[str, object]
    feats: list[Tensor]


def compute_outer(
    model: BaseDetector, batch_inputs: Tensor, signals: list[Signal]
) -> Outer:
    """Run what needs no RoIs, and only as much of it as signals need.

    Backbone, neck and RPN run under the ambient autocast.

    Args:
        model: The teacher, in eval mode.
        batch_inputs: Images as the teacher expects them,
            ``(B, 3, H, W)``.
        signals: What is asked for; of the RoI head as well.
    """
    parts = {signal.part for signal in signals}
    inner = [s for s in signals if s.part == 'rpn' or s.path]
    store: dict = {}
    with (
        tap_modules(model, [s for s in inner if s.part != 'roi'], store),
        ExitStack() as stack,
    ):
        feats = store['backbone'] = model.backbone(batch_inputs)
        if parts - {'backbone'} and model.with_neck:
            if parts.isdisjoint(('neck', 'rpn')):
                stack.enter_context(_without_extra_levels(model))
            feats = store['neck'] = model.neck(feats)
        if 'rpn' in parts:
            model.rpn_head(feats)
    asked = {s.name for s in signals if s.part != 'roi'}
    if 'roi' not in parts:
        feats = []
    else:
        dtype = next(model.roi_head.parameters()).dtype
        # mmcv's compiled RoIAlign knows one layout of maps alone
        feats = [level.to(dtype).contiguous() for level in feats]
    # what nobody asked for would be held in memory
    return Outer({k: v for k, v in store.items() if k in asked}, feats)


def score_rois(
    model: BaseDetector,
    outer: Outer,
    requests: list[tuple[Signal, Rows]],
    rois: dict[Rows, Tensor],
) -> list:
    """Answer requests, with the RoI head where they ask for it.

    It runs in its weights' own precision: half-precision RoIs would move box
    corners by pixels.

    Args:
        model: The teacher, in eval mode.
        outer: What :func:`compute_outer` gave for the signals.
        requests: A signal and the student's RoIs that it is computed on;
            these count in the RoI head alone.
        rois: RoIs ``(N, 5)`` by the same key.

    Returns:
        The value of each request.
    """
    values: dict = {}
    for signal, key in requests:
        if signal.part != 'roi':
            value = read_signal(outer.values, signal)
            values[signal, key] = as_rows(model, signal, value)
        elif is_mask(signal):
            with _own_precision(outer.feats):
                values[signal, key] = score_masks(
                    model, outer.feats, rois[key], signal.stage
                )
        elif (signal, key) not in values:
            asked = [
                s
                for s, k in requests
                if (s.part, s.stage, k) == ('roi', signal.stage, key)
                and not is_mask(s)
            ]
            scores = _roi_forward(model, outer.feats, rois[key], asked)
            values.update({(s, key): scores[s.name] for s in asked})
    return [values[request] for request in requests]


def compute_signals(
    model: BaseDetector,
    batch_inputs: Tensor,
    requests: list[tuple[Signal, Rows]],
    rois: dict[Rows, Tensor],
) -> list:
    """Run only as much of a detector as the asked signals need.

    Args:
        model: See :func:`compute_outer`.
        batch_inputs: See there.
        requests: See :func:`score_rois`.
        rois: See there.

    Returns:
        The value of each request.
    """
    signals = [signal for signal, _ in requests]
    outer = compute_outer(model, batch_inputs, signals)
    return score_rois(model, outer, requests, rois)


def _own_precision(feats: list[Tensor]) -> torch.autocast:
    """The RoI head runs in the precision of its weights, see above."""
    return torch.autocast(feats[0].device.type, enabled=False)


def _roi_forward(
    model: BaseDetector, feats: list[Tensor], rois: Tensor, asked: list[Signal]
) -> dict[str, object]:
    """Score RoIs with one stage of the RoI head."""
    stage = asked[0].stage
    head = bbox_heads(model)[stage]
    inside = any(s.path for s in asked)
    fields = {s.field for s in asked}
    store: dict = {}
    with ExitStack() as stack:
        stack.enter_context(_own_precision(feats))
        stack.enter_context(tap_modules(model, asked, store))
        for branch, output in (('cls', 'cls_score'), ('reg', 'bbox_pred')):
            if not inside and output not in fields:
                stack.enter_context(_without_branch(head, branch))
        where = (stage,) if is_cascade(model) else ()
        further = {
            key: branch(feats)[1]
            for key, branch in _branches(model.roi_head).items()
        }
        outputs = model.roi_head._bbox_forward(*where, feats, rois, **further)
    if 'bbox_feats' in outputs:  # HTC keeps them to itself
        outputs['feats'] = outputs['bbox_feats']
    store.update(
        {s.name: outputs[s.field] for s in asked if s.field in outputs}
    )
    return {s.name: read_signal(store, s) for s in asked}
