"""Which DETRs have queries that can be compared, and how points enter them.

A query point is ``(cx, cy, w, h)`` in [0, 1]. How a decoder reads one differs
from detector to detector; :func:`decoder_inputs` has a rule for each.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.dense_heads import (
    DeformableDETRHead,
    DETRHead,
    DINOHead,
)
from mmdet.models.detectors import DABDETR, DINO, DeformableDETR
from mmdet.models.detectors.base_detr import DetectionTransformer
from mmdet.models.layers import inverse_sigmoid
from torch import Tensor, nn

# Heads whose outputs are layers of one fixed set of queries; what derives
# from them without a loss of its own trains as they do.
FORMS = (DETRHead, DeformableDETRHead, DINOHead)
PASSES = (DetectionTransformer.forward_transformer, DINO.forward_transformer)


def uses_sigmoid(head: Any) -> bool:
    """Whether every class has a probability of its own."""
    return bool(head.loss_cls.use_sigmoid)


def why_not_a_detr(model: Any) -> str:
    """Why a model's queries cannot be compared; empty where they can."""
    return why_no_queries(type(model), type(getattr(model, 'bbox_head', None)))


def why_no_queries(kind: Any, head: type) -> str:
    """The same of the classes of a model and of its ``bbox_head``."""
    if not issubclass(kind, DetectionTransformer):
        return f'{kind.__name__} is not a DETR, so it has no queries'
    losses = [form.loss_by_feat for form in FORMS]
    if (
        kind.forward_transformer not in PASSES
        or getattr(head, 'loss_by_feat', None) not in losses
    ):
        return (
            f'{kind.__name__} with {head.__name__} computes its loss in a way '
            'of its own, so which of its outputs are queries is not known'
        )
    return ''


def coordinates(model: Any) -> int:
    """Numbers of a query point: 4, or 2 without sizes.

    0 where queries are learned vectors without a place (DETR), or where the
    decoder itself finds their place (Conditional DETR).
    """
    if why_not_a_detr(model):
        return 0
    return point_size(
        type(model),
        getattr(model, 'query_dim', 0),
        getattr(model, 'as_two_stage', False),
    )


def point_size(kind: type, query_dim: int, two_stage: bool) -> int:
    """The same of a class of DETRs whose queries are known.

    Args:
        kind: The class.
        query_dim: What a DAB-DETR's decoder has as that.
        two_stage: Whether a Deformable DETR proposes its queries.
    """
    if issubclass(kind, DABDETR):
        return query_dim
    if issubclass(kind, DeformableDETR):
        return 4 if two_stage else 2
    return 0


def check_queries(model: Any, name: str, whose: str) -> None:
    """Refuse models without such queries.

    Args:
        model: The student or the teacher.
        name: The signal.
        whose: ``student`` or ``teacher``, for the message.

    Raises:
        ValueError: If its queries are not known, or have no points and the
            signal is ``queries``.
    """
    reason = why_not_a_detr(model)
    if not reason and name == 'queries' and not coordinates(model):
        reason = (
            f'the queries of {type(model).__name__} are learned vectors '
            'without points that could be given to another decoder; '
            "DETRDistillLoss on ['cls_score', 'bbox_pred'] matches them "
            'instead'
        )
    if reason:
        raise ValueError(
            f"signal {name!r} of the {whose}: {reason}. Compare 'neck' or "
            "'backbone', or take Deformable DETR, DINO or DAB-DETR."
        )


def check_points(key: str, ours: Any, theirs: Any, whose: str) -> None:
    """Refuse a teacher whose points lack what the student's decoder reads.

    Raises:
        ValueError: If they have no sizes, and the student's have.
    """
    own, other = coordinates(ours), coordinates(theirs)
    if own > other:
        raise ValueError(
            f'model.distill.{key}: query points of the student '
            f'({type(ours).__name__}) have {own} coordinates, and those of '
            f'the {whose} ({type(theirs).__name__}) {other}. Take a {whose} '
            'whose queries are boxes, such as DINO, or DETRDistillLoss.'
        )


def own_points(model: Any, inputs: dict[str, Any]) -> Tensor | None:
    """A pass's query points ``(B, Q, 2 or 4)``, without denoising.

    Args:
        model: The model.
        inputs: What its ``forward_decoder`` was given.

    Returns:
        None where its queries have no points.
    """
    if not coordinates(model):
        return None
    if isinstance(model, DABDETR):
        return inputs['query_pos'].sigmoid()
    return inputs['reference_points'][:, -model.num_queries :]


def decoder_inputs(
    model: nn.Module, inputs: dict[str, Any], points: Tensor
) -> dict[str, Any]:
    """What a ``forward_decoder`` is given to answer about some points.

    Content queries are 0, as in KD-DETR.

    Args:
        model: A DETR with query points.
        inputs: What it was given in its own pass.
        points: ``(B, Q, 2 or 4)``; sizes may be left over.
    """
    places = points[..., : coordinates(model)]
    memory = inputs['memory']
    query = memory.new_zeros(*places.shape[:2], memory.shape[-1])
    found = _RULES[_rule(model)](model, places)
    return {**inputs, 'query': query, **found}


def _rule(model: Any) -> str:
    if isinstance(model, DABDETR):
        return 'anchors'
    if isinstance(model, DINO):
        return 'boxes'
    return 'proposals' if model.as_two_stage else 'learned'


def _as_anchors(model: Any, places: Tensor) -> dict[str, Any]:
    """DAB-DETR: positions before the sigmoid; the decoder embeds them."""
    return dict(query_pos=inverse_sigmoid(places))


def _as_boxes(model: Any, places: Tensor) -> dict[str, Any]:
    """DINO: reference boxes, which the decoder embeds; no denoising."""
    return dict(reference_points=places, dn_mask=None)


def _as_proposals(model: Any, places: Tensor) -> dict[str, Any]:
    """Two-stage Deformable DETR: boxes, embedded as its proposals are."""
    embedded = model.get_proposal_pos_embed(inverse_sigmoid(places))
    both = model.pos_trans_norm(model.pos_trans_fc(embedded))
    return dict(
        reference_points=places, query_pos=both[..., : model.embed_dims]
    )


def _as_learned(model: Any, places: Tensor) -> dict[str, Any]:
    """Deformable DETR: points, each with its nearest query's embedding.

    It knows no embedding of a point, only those that it learned; its own
    points get their own.
    """
    known = model.query_embedding.weight[:, : model.embed_dims]
    with torch.no_grad():
        found = model.reference_points_fc(known).sigmoid().to(places)
        nearest = torch.cdist(
            places, found.expand(len(places), -1, -1)
        ).argmin(dim=2)
    return dict(reference_points=places, query_pos=known[nearest])


_RULES = dict(
    anchors=_as_anchors,
    boxes=_as_boxes,
    proposals=_as_proposals,
    learned=_as_learned,
)
