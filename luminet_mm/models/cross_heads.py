"""Run the rest of a dense head on maps from within another's (CrossKD)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmdet.models.dense_heads import ATSSHead, FCOSHead, GFLHead, RetinaHead
from torch import Tensor

from luminet_mm.models.cuts import NetworkPart


class _Layers(NamedTuple):
    """Names of a head's last layers, what its boxes are, the published cut."""

    classes: str
    boxes: str
    centers: str
    form: str
    place: int


_LAYERS = {
    RetinaHead: _Layers('retina_cls', 'retina_reg', '', 'deltas', 2),
    ATSSHead: _Layers('atss_cls', 'atss_reg', 'atss_centerness', 'deltas', 2),
    FCOSHead: _Layers('conv_cls', 'conv_reg', '', 'distances', 1),
    GFLHead: _Layers('gfl_cls', 'gfl_reg', '', 'bins', 2),
}
CUT = tuple(_LAYERS)
"""The heads that can be run from the middle."""
_CONVOLUTIONS = 4  # of a branch, in all published heads
_BRANCHES = ('cls', 'reg')


def published_signals(head: type, convolutions: int) -> list[str]:
    """What CrossKD compares of a head: both maps and the predictions.

    A head with other than four convolutions is cut so that as many follow as
    in the published one.

    Args:
        head: The class of the ``bbox_head``.
        convolutions: How many each of its branches has.

    Returns:
        Names of signals; none if such a head cannot be cut.

    Examples:
        >>> published_signals(FCOSHead, 4)[:2]
        ['bbox_head.cls_convs.1.preact', 'bbox_head.reg_convs.1.preact']
    """
    layers = _LAYERS.get(head)
    if layers is None or convolutions < 1:
        return []
    place = max(0, layers.place + convolutions - _CONVOLUTIONS)
    maps = [f'bbox_head.{name}_convs.{place}.preact' for name in _BRANCHES]
    scored = ['centerness'] if layers.centers else []
    return [*maps, 'cls_score', 'bbox_pred', *scored]


class CrossHead(NetworkPart):
    """A detector's dense head that continues from maps of both branches.

    Args:
        model: The detector.
        names: Signals: maps before the activation of one convolution of each
            branch, as in ``bbox_head.cls_convs.2.preact`` and
            ``bbox_head.reg_convs.2.preact``.
        whose: ``student`` or ``teacher``, for errors.
        shared: See :class:`~luminet_mm.models.cuts.NetworkPart`.

    Raises:
        ValueError: If the head cannot be cut there.
    """

    def __init__(
        self, model: Any, names: Sequence[str], whose: str, shared: bool
    ) -> None:
        super().__init__(model, shared)
        places = [
            _place(name, branch) for name, branch in zip(names, _BRANCHES)
        ]
        head = getattr(model, 'bbox_head', None)
        layers = _layers(head)
        if layers is None:
            kinds = ', '.join(kind.__name__ for kind in _LAYERS)
            raise ValueError(
                f'the bbox_head of the {whose} ({type(head).__name__}) cannot '
                f'be run from the middle: it has no branches as {kinds}. '
                'Take BCKDLoss, which compares the same predictions.'
            )
        self.layers = layers
        self.places = [place for place in places if place is not None]
        if len(self.places) < 2:
            raise ValueError(
                f'the maps of the {whose} are {list(names)}; name those '
                'before the activation of a convolution of both branches, '
                "such as 'bbox_head.cls_convs.2.preact' and "
                "'bbox_head.reg_convs.2.preact'."
            )

    @property
    def form(self) -> str:
        """What its boxes are: ``deltas``, ``distances`` or ``bins``."""
        return self.layers.form

    @property
    def widths(self) -> list[int]:
        """Channels of the two maps that it takes."""
        return [
            convs[place].out_channels
            for convs, place in zip(self._branches(), self.places)
        ]

    def predict(
        self, level: int, classes: Tensor, boxes: Tensor
    ) -> list[Tensor]:
        """Predictions from the maps of one level, as in training.

        Args:
            level: Its number.
            classes: ``(B, C, h, w)`` of the branch of classes, before the
                activation.
            boxes: The same of the branch of boxes.

        Returns:
            Maps of classes and boxes, and of centerness if ATSS has it.
        """
        head = self.model.bbox_head
        ends = [
            _continue(convs, place, maps)
            for convs, place, maps in zip(
                self._branches(), self.places, (classes, boxes)
            )
        ]
        scores = getattr(head, self.layers.classes)(ends[0])
        found = getattr(head, self.layers.boxes)(ends[1])
        if hasattr(head, 'scales'):
            found = head.scales[level](found).float()
        if self.form == 'distances':
            # in training such a head gives strides, whatever mode it is in
            found = found.clamp(min=0) if head.norm_on_bbox else found.exp()
        if self.layers.centers:
            return [scores, found, getattr(head, self.layers.centers)(ends[1])]
        return [scores, found]

    def _branches(self) -> list[Any]:
        head = self.model.bbox_head
        return [getattr(head, f'{branch}_convs') for branch in _BRANCHES]


def _layers(head: Any) -> _Layers | None:
    """Those of a head whose forward pass is that of a known one."""
    passes = ('forward', 'forward_single')
    for kind, layers in _LAYERS.items():
        if isinstance(head, kind) and all(
            getattr(type(head), name) is getattr(kind, name) for name in passes
        ):
            return layers
    return None


def _place(name: str, branch: str) -> int | None:
    found = re.fullmatch(rf'bbox_head\.{branch}_convs\.(\d+)\.preact', name)
    return int(found[1]) if found else None


def _continue(convs: Any, place: int, maps: Tensor) -> Tensor:
    """The activation of one convolution, and the ones behind it."""
    x = maps.to(convs[place].conv.weight.dtype)
    activate = convs[place].activate
    x = activate(x.clone() if getattr(activate, 'inplace', True) else x)
    for conv in convs[place + 1 :]:
        x = conv(x)
    return x
