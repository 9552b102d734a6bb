"""The losses of a pair whose rows are not of the same things: on its maps.

PKD where the pyramids have equal widths, which it needs. Where they have not,
a loss that brings the student's maps to the teacher's width: what gained most
where Faster R-CNN taught RetinaNet on digits, with the weights of that search
(docs/results.md).
"""

from __future__ import annotations

from typing import Any

from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmengine.config import Config
from mmengine.registry import TASK_UTILS, DefaultScope

from luminet_mm.signals.families import stock_family
from luminet_mm.student import built_class

PKD: dict[str, Any] = dict(type='luminet_mm.PKDLoss', loss_weight=6.0)
FGFI: dict[str, Any] = dict(type='luminet_mm.FGFILoss', loss_weight=0.03)
FITNET: dict[str, Any] = dict(type='luminet_mm.FitNetLoss', loss_weight=3.0)


def on_maps(
    student: Config, teacher: Config, reason: str
) -> tuple[dict[str, dict], str]:
    """A loss on the maps that both have, and why that one.

    Args:
        student: Its whole config.
        teacher: Its whole config.
        reason: Why no rows are compared.
    """
    necks = [pyramid_of(cfg) for cfg in (student, teacher)]
    if not all(necks):
        loss, signal = FITNET, 'backbone'
        rest = 'FitNet compares the maps of the backbones, of any widths'
    elif _widths(necks[0]) == _widths(necks[1]):
        loss, signal = PKD, 'neck'
        rest = 'PKD compares the pyramids'
    else:
        fgfi = has_anchors(student)
        loss, signal = (FGFI if fgfi else FITNET), 'neck'
        name = 'FGFI' if fgfi else 'FitNet'
        rest = f'{name} compares the pyramids, of other widths'
    kind = loss['type'].rpartition('.')[2].removesuffix('Loss').lower()
    return {f'loss_{kind}': dict(loss, signal=signal)}, f'{reason}: {rest}'


def pyramid_of(cfg: Config) -> dict[str, Any]:
    """The block of a detector's pyramid, the last of several; or empty."""
    scope = cfg.get('default_scope')
    cls = built_class(cfg.model.get('type', ''), cfg.model, scope)
    family = cls and stock_family(cls)
    if not family or family.scope != 'mmdet':  # a classifier's neck pools
        return {}
    neck = cfg.model.get('neck') or {}
    return neck[-1] if isinstance(neck, list) else neck


def _widths(neck: dict[str, Any]) -> Any:
    """Channels of its maps; the whole block where it does not name them."""
    channels = neck.get('out_channels')
    return neck if channels is None else channels


def has_anchors(cfg: Config) -> bool:
    """Whether a detector's config names anchors for its pyramid's maps."""
    head = cfg.model.get('rpn_head') or cfg.model.get('bbox_head') or {}
    kind = (head.get('anchor_generator') or {}).get('type')
    with (
        DefaultScope.overwrite_default_scope(cfg.get('default_scope')),
        TASK_UTILS.switch_scope_and_registry(None) as registry,
    ):
        found = registry.get(kind) if isinstance(kind, str) else kind
    return isinstance(found, type) and issubclass(found, AnchorGenerator)
