"""Named signals of a two-stage detector: tapped in training, or computed.

=================  ========================================================
name               value
=================  ========================================================
``backbone``       tuple of maps, one per stage
``neck``           tuple of maps, one per pyramid level
``rpn.cls_score``  list of ``(B, A, H, W)`` objectness maps, one per level
``rpn.bbox_pred``  list of ``(B, 4A, H, W)`` maps, one per level
``roi.feats``      ``(N, C, h, w)`` input of the box head
``roi.cls_score``  ``(N, classes + 1)`` logits, background last
``roi.bbox_pred``  ``(N, 4 * classes)`` or ``(N, 4)`` box deltas
=================  ========================================================

A cascade has one box head per stage and so one signal per stage:
``roi.0.cls_score``, ``roi.1.cls_score``, ... Any other name is the dotted path
of a module (``backbone.layer3``) and stands for that module's output, or,
with ``.preact`` behind it, for the map before a block's last ReLU.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import signature
from typing import NamedTuple

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.models.necks import FPN
from mmdet.models.roi_heads import MultiInstanceRoIHead, PISARoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor, nn

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.signals.preact import (
    SUFFIX,
    has_output,
    last_block,
    tap_last_relu,
)

_ROI_PARTS = ('feats', 'cls_score', 'bbox_pred')
_RPN_PARTS = ('cls_score', 'bbox_pred')


@dataclass(frozen=True)
class Signal:
    """Where a name points to.

    Attributes:
        name (str): The name as written in the config.
        part (str): ``backbone``, ``neck``, ``rpn`` or ``roi``: how far the
            detector has to run to have it.
        field (str): What is read there; empty when the part's output itself
            (or, with ``path``, a module's output) is the signal.
        stage (int): The RoI stage; 0 too outside the RoI head.
        path (str): Dotted path of the module that is tapped, or empty.
    """

    name: str
    part: str
    field: str = ''
    stage: int = 0
    path: str = ''


@dataclass
class RoIRecord:
    """What one RoI stage of the student saw and predicted, row by row."""

    rois: Tensor
    cls_score: Tensor
    bbox_pred: Tensor | None
    batch: DistillBatch
    feats: Tensor | None = None


@dataclass
class Record:
    """The signals of one training pass."""

    values: dict[str, object] = field(default_factory=dict)
    stages: dict[int, RoIRecord] = field(default_factory=dict)

    def value(self, signal: Signal):
        """The value of a signal; raises a RuntimeError when it never ran."""
        if signal.part != 'roi' or signal.path:
            return read_signal(self.values, signal)
        if signal.stage not in self.stages:
            raise RuntimeError(
                f'signal {signal.name!r}: the RoI head computed no box loss '
                'with loss_and_target of its box head, so it cannot be '
                'distilled. Standard and cascade RoI heads can.'
            )
        return getattr(self.stages[signal.stage], signal.field)

    def batch(self, signal: Signal) -> DistillBatch | None:
        """Labels and row marks of a signal; None outside the RoI head."""
        if signal.part != 'roi' or signal.path:
            return None
        return self.stages[signal.stage].batch


def bbox_heads(model: BaseDetector) -> list[BBoxHead]:
    """The box heads of a detector, one per RoI stage; empty without any."""
    head = getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    if head is None:
        return []
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def is_cascade(model: BaseDetector) -> bool:
    """Whether the RoI head has a list of box heads."""
    head = getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    return isinstance(head, nn.ModuleList)


def signal_names(model: BaseDetector) -> list[str]:
    """The names that a detector publishes, dotted paths aside."""
    names = ['backbone']
    if getattr(model, 'neck', None) is not None:
        names.append('neck')
    if getattr(model, 'rpn_head', None) is not None:
        names += [f'rpn.{part}' for part in _RPN_PARTS]
    if is_cascade(model):
        names += [
            f'roi.{stage}.{part}'
            for stage in range(len(bbox_heads(model)))
            for part in _ROI_PARTS
        ]
    elif bbox_heads(model):
        names += [f'roi.{part}' for part in _ROI_PARTS]
    return names


def find_signal(model: BaseDetector, name: str, whose: str) -> Signal:
    """Look a name up.

    Args:
        model (BaseDetector): The detector.
        name (str): A published name or a module's dotted path.
        whose (str): ``student`` or ``teacher``, for the message.

    Raises:
        ValueError: If the detector has no such signal.
    """
    published = signal_names(model)
    if name in published:
        part, *rest = name.split('.')
        stage = int(rest.pop(0)) if len(rest) == 2 else 0
        signal = Signal(name, part, rest[0] if rest else '', stage)
        if part == 'roi':
            _check_roi_head(model, signal, whose)
        return signal

    head = name.split('.')[0]
    if head in ('backbone', 'neck', 'rpn_head', 'roi_head'):
        if has_output(model, name):
            part = head.removesuffix('_head')
            stage = _stage_of_path(model, name) if part == 'roi' else 0
            signal = Signal(name, part, '', stage, name)
            if part == 'roi' and bbox_heads(model):
                _check_roi_head(model, signal, whose)
            return signal

    hint = ''
    if name.startswith('roi') and not bbox_heads(model):
        hint = ' It has no RoI head.'
    elif name.startswith('roi') and is_cascade(model):
        hint = ' It is a cascade: name the stage, as in roi.0.cls_score.'
    raise unknown_signal(model, name, whose, published, hint)


def _check_roi_head(model: BaseDetector, signal: Signal, whose: str) -> None:
    """Refuse RoI heads whose rows or scores mean something else."""
    roi_head = model.roi_head
    box_head = bbox_heads(model)[signal.stage]
    needed = [
        each
        for each in signature(roi_head._bbox_forward).parameters.values()
        if each.default is each.empty
        and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    problem = ''
    if isinstance(roi_head, MultiInstanceRoIHead):
        problem = (
            'predicts several objects for each RoI, as CrowdDet does, so its '
            'scores are not those of one softmax; compare the neck or the RPN'
        )
    elif whose == 'student' and isinstance(roi_head, PISARoIHead):
        problem = (
            'computes its box loss itself, so the labels of its RoIs are not '
            'known; take one that trains in the usual way. It can be a teacher'
        )
    # (stage,) maps, RoIs
    elif len(needed) > 2 + is_cascade(model):
        problem = (
            'scores proposals of its own and not any RoI; take a detector '
            'with a standard or a cascade RoI head'
        )
    elif signal.field == 'cls_score' and box_head.custom_cls_channels:
        problem = (
            f'has {type(box_head.loss_cls).__name__}, whose scores are not '
            'those of one softmax; take another loss_cls, or compare features'
        )
    if problem:
        raise ValueError(
            f'signal {signal.name!r}: the RoI head of the {whose} '
            f'({type(roi_head).__name__}) {problem}.'
        )


def unknown_signal(
    model: nn.Module, name: str, whose: str, published: list[str], hint: str
) -> ValueError:
    """The error for a name that a model does not have."""
    paths = [path for path, _ in model.named_modules() if path]
    close = difflib.get_close_matches(name, published + paths, n=3)
    if name.endswith(SUFFIX):
        hint += (
            f' A stage has {SUFFIX[1:]} where its last block ends in its '
            "module 'relu'."
        )
    elif close:
        hint += f' Did you mean {" or ".join(map(repr, close))}?'
    return ValueError(
        f'the {whose} ({type(model).__name__}) has no signal {name!r}.{hint} '
        f'It publishes {", ".join(published)}, and the output of any module '
        'by its dotted path.'
    )


def _stage_of_path(model: BaseDetector, path: str) -> int:
    """The RoI stage that a module inside the RoI head belongs to."""
    numbers = [int(word) for word in path.split('.')[2:3] if word.isdigit()]
    return numbers[0] if is_cascade(model) and numbers else 0


class MissingSignal(RuntimeError):
    """A signal's module did not run."""


def read_signal(store: dict, signal: Signal):
    """Look a tapped value up; raises MissingSignal if it never came."""
    if signal.name not in store:
        raise MissingSignal(
            f'signal {signal.name!r}: that module did not run in the training '
            'pass, so it has no output to distil.'
        )
    return store[signal.name]


@contextmanager
def tap_output(
    module: nn.Module, store: dict, key: str, copy: bool = False
) -> Iterator[None]:
    """Keep a module's output in ``store[key]`` while the block runs.

    A module that runs several times (a head shared by pyramid levels) gives a
    tuple of its outputs. The hook lives only as long as the block, so that
    copies of the model (EMA) never carry it. With ``copy`` a tensor is kept
    as it is now: behind many a batch norm a ReLU works in place.
    """
    outputs: list = []

    def keep(_module, _args, output) -> None:
        if copy and isinstance(output, Tensor):
            output = output.clone()
        outputs.append(output)

    handle = module.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()
    if outputs:
        store[key] = outputs[0] if len(outputs) == 1 else tuple(outputs)


def tap_path(
    model: nn.Module, path: str, store: dict, key: str, copy: bool = False
) -> AbstractContextManager:
    """Tap what a dotted path stands for: a module, or a block's preact."""
    block = last_block(model, path)
    if block is not None:
        return tap_last_relu(block, store, key)
    return tap_output(model.get_submodule(path), store, key, copy)


@contextmanager
def _tap_module_signals(
    model: BaseDetector, signals: list[Signal], store: dict
) -> Iterator[None]:
    """Tap what is a module's output: backbone, neck, RPN, dotted paths."""
    rpn_signals = [s for s in signals if s.part == 'rpn' and not s.path]
    rpn: dict = {}
    with ExitStack() as stack:
        if rpn_signals:
            stack.enter_context(tap_output(model.rpn_head, rpn, 'outputs'))
        for signal in signals:
            if signal.path or signal.part in ('backbone', 'neck'):
                path = signal.path or signal.part
                stack.enter_context(
                    tap_path(
                        model, path, store, signal.name, bool(signal.path)
                    )
                )
        yield
    if 'outputs' in rpn:
        for signal in rpn_signals:
            index = _RPN_PARTS.index(signal.field)
            store[signal.name] = rpn['outputs'][index]


@contextmanager
def _tap_roi_stage(
    head: BBoxHead, stage: int, record: Record
) -> Iterator[None]:
    """Record RoIs, labels and predictions where the box loss is computed.

    ``loss_and_target`` receives all of them in one call and in one row order,
    for plain and cascade heads alike; nothing has to be matched up later. The
    override sits on the instance and only while the block runs.
    """
    compute = head.loss_and_target
    feats: list = []

    def loss_and_target(
        cls_score, bbox_pred, rois, sampling_results, *args, **kwargs
    ):
        result = compute(
            cls_score, bbox_pred, rois, sampling_results, *args, **kwargs
        )
        positives = [sampled.pos_is_gt for sampled in sampling_results]
        lengths = [len(sampled.neg_inds) for sampled in sampling_results]
        # as many operators for many images as for one
        negatives = positives[0].new_zeros(sum(lengths)).split(lengths)
        added_gt = [
            mark
            for pair in zip(positives, negatives, strict=True)
            for mark in pair
        ]
        record.stages[stage] = RoIRecord(
            rois=rois.detach(),
            cls_score=cls_score,
            bbox_pred=bbox_pred,
            feats=feats[-1] if feats else None,
            batch=DistillBatch(
                labels=result['bbox_targets'][0],
                background=head.num_classes,
                no_object=head.num_classes,
                added_gt=torch.cat(added_gt).bool(),
                rois=rois.detach(),
            ),
        )
        return result

    handle = head.register_forward_pre_hook(
        lambda _module, args: feats.append(args[0])
    )
    head.loss_and_target = loss_and_target
    try:
        yield
    finally:
        del head.loss_and_target
        handle.remove()


@contextmanager
def record_signals(
    model: BaseDetector, signals: list[Signal]
) -> Iterator[Record]:
    """Record signals of a training pass that happens inside the block.

    Args:
        model (BaseDetector): The student.
        signals (list[Signal]): What to keep.

    Yields:
        Record: Filled when the block ends.
    """
    record = Record()
    stages = 1 + max((s.stage for s in signals if s.part == 'roi'), default=-1)
    with ExitStack() as stack:
        stack.enter_context(_tap_module_signals(model, signals, record.values))
        for stage, head in enumerate(bbox_heads(model)[:stages]):
            stack.enter_context(_tap_roi_stage(head, stage, record))
        yield record
    for stage in range(1, stages):
        before = record.stages.get(stage - 1)
        if stage not in record.stages and before and not len(before.rois):
            # A cascade stops when no RoI is left. Its further stages have as
            # few rows; their losses must still take part on all ranks.
            record.stages[stage] = before


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
    extractors = model.roi_head.bbox_roi_extractor
    if not isinstance(extractors, nn.ModuleList):
        extractors = [extractors]
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
        values (dict): Signals of backbone, neck and RPN, by name.
        feats (list[Tensor]): Maps for the RoI head; empty if it is not asked.
    """

    values: dict[str, object]
    feats: list[Tensor]


def compute_outer(
    model: BaseDetector, batch_inputs: Tensor, signals: list[Signal]
) -> Outer:
    """Run what needs no RoIs, and only as much of it as signals need.

    Backbone, neck and RPN run under the ambient autocast.

    Args:
        model (BaseDetector): The teacher, in eval mode.
        batch_inputs (Tensor): Images as the teacher expects them,
            ``(B, 3, H, W)``.
        signals (list[Signal]): What is asked for; of the RoI head as well.
    """
    parts = {signal.part for signal in signals}
    inner = [s for s in signals if s.part == 'rpn' or s.path]
    store: dict = {}
    with (
        _tap_module_signals(
            model, [s for s in inner if s.part != 'roi'], store
        ),
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
    requests: list[tuple[Signal, int]],
    rois: dict[int, Tensor],
) -> list:
    """Answer requests, with the RoI head where they ask for it.

    It runs in its weights' own precision: half-precision RoIs would move box
    corners by pixels.

    Args:
        model (BaseDetector): The teacher, in eval mode.
        outer (Outer): What :func:`compute_outer` gave for the signals.
        requests (list[tuple]): A signal and the student's RoI stage whose
            RoIs it is computed on (of no matter outside the RoI head).
        rois (dict[int, Tensor]): RoIs ``(N, 5)`` of each student stage.

    Returns:
        list: The value of each request.
    """
    values: dict = {}
    for signal, key in requests:
        if signal.part != 'roi':
            values[signal, key] = read_signal(outer.values, signal)
        elif (signal, key) not in values:
            asked = [
                s
                for s, k in requests
                if (s.part, s.stage, k) == ('roi', signal.stage, key)
            ]
            scores = _roi_forward(model, outer.feats, rois[key], asked)
            values.update({(s, key): scores[s.name] for s in asked})
    return [values[request] for request in requests]


def compute_signals(
    model: BaseDetector,
    batch_inputs: Tensor,
    requests: list[tuple[Signal, int]],
    rois: dict[int, Tensor],
) -> list:
    """Run only as much of a detector as the asked signals need.

    Args:
        model (BaseDetector): See :func:`compute_outer`.
        batch_inputs (Tensor): See there.
        requests (list[tuple]): See :func:`score_rois`.
        rois (dict[int, Tensor]): See there.

    Returns:
        list: The value of each request.
    """
    signals = [signal for signal, _ in requests]
    outer = compute_outer(model, batch_inputs, signals)
    return score_rois(model, outer, requests, rois)


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
        stack.enter_context(
            torch.autocast(feats[0].device.type, enabled=False)
        )
        stack.enter_context(_tap_module_signals(model, asked, store))
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
