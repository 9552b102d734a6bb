"""Which dense heads have rows that can be compared, and which have not."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import (
    AnchorHead,
    ATSSHead,
    FCOSHead,
    GFLHead,
    RTMDetHead,
)
from torch import nn

# Heads whose loss is computed from all levels' outputs and from get_targets;
# what derives from them without a loss of its own trains as they do.
FORMS = (AnchorHead, ATSSHead, FCOSHead, GFLHead, RTMDetHead)


def head_outputs(head: nn.Module) -> list[str]:
    """Names of what a dense head gives, in its order."""
    scored = isinstance(head, (ATSSHead, FCOSHead))
    if isinstance(head, RTMDetHead):  # an ATSSHead by name alone
        scored = False
    return ['cls_score', 'bbox_pred'] + ['centerness'] * scored


def uses_sigmoid(head: Any) -> bool:
    """Whether every class has a probability of its own."""
    return bool(getattr(head, 'use_sigmoid_cls', True))


def predicts_distributions(head: Any) -> bool:
    """Whether the box output is a distribution of each of four sides."""
    return isinstance(head, GFLHead)


def trains_in_form(head: type) -> bool:
    """Whether heads of a class train as those in :data:`FORMS`."""
    loss = getattr(head, 'loss_by_feat', None)
    return loss in [form.loss_by_feat for form in FORMS]


def check_dense_head(head: nn.Module, name: str, whose: str) -> None:
    """Refuse heads whose rows or targets mean something else.

    Args:
        head: The ``bbox_head``.
        name: The signal.
        whose: ``student`` or ``teacher``, for the message.

    Raises:
        ValueError: If it does not train as those in :data:`FORMS`.
    """
    if trains_in_form(type(head)):
        return
    raise ValueError(
        f'signal {name!r}: the bbox_head of the {whose} '
        f'({type(head).__name__}) computes its loss in a way of its own, so '
        'the labels of its points are not known, nor whether its rows are '
        "those of the other detector. Compare 'neck' or 'backbone'; heads "
        f'that train as {", ".join(form.__name__ for form in FORMS)} can be '
        'compared.'
    )


def check_priors(
    key: str,
    ours: Any,
    theirs: Any,
    whose: str,
    part: str = 'bbox_head',
    mapped: bool = False,
) -> None:
    """Refuse detectors whose rows are of different points or anchors.

    Args:
        key: The loss's key in the block ``distill``.
        ours: The student's head.
        theirs: The other one's.
        whose: Whose that is, for the message.
        part: Which head it is, likewise.
        mapped: Whether its classes are mapped to the student's.

    Raises:
        ValueError: If strides, priors, or what is predicted for one differ.
    """
    for what, own, other in zip(
        ('strides', 'priors of a point', 'numbers for a prior'),
        _anatomy(ours, mapped),
        _anatomy(theirs, mapped),
    ):
        if own != other:
            raise ValueError(
                f'model.distill.{key}: the {what} of the two detectors '
                f'differ: {own} in the student, {other} in the {whose}. Row i '
                'has to be the same point for both. Take a teacher with the '
                f"student's {part} and pyramid, or compare 'neck'."
            )


def _anatomy(head: Any, mapped: bool) -> tuple[Any, Any, Any]:
    """Strides, priors of a point, and what is predicted for a prior.

    Of classes that are mapped the background column alone has to agree.
    """
    generator = head.prior_generator
    anchors = getattr(generator, 'base_anchors', None)
    priors: Any = list(generator.num_base_priors)
    if anchors is not None:
        priors = [
            [[round(x, 3) for x in box] for box in level.tolist()]
            for level in anchors
        ]
    sides = getattr(head, 'reg_max', None)
    columns = head.cls_out_channels - (head.num_classes if mapped else 0)
    numbers = dict(cls_score=columns, bins=sides)
    return [tuple(s) for s in generator.strides], priors, numbers
