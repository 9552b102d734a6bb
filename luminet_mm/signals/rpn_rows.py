"""What an RPN says of each anchor, in rows as of a one-stage detector."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import RPNHead
from torch import nn

from luminet_mm.signals.dense_heads import FORMS, check_priors
from luminet_mm.signals.dense_record import level_rows
from luminet_mm.signals.signal import Signal, quoted

ROWS = {'rpn.objectness': 'cls_score', 'rpn.deltas': 'bbox_pred'}
"""Names, and the output of the RPN whose rows they are."""


def is_anchors(signal: Signal) -> bool:
    """Whether rows of a signal are anchors of the RPN."""
    return signal.name in ROWS


def as_rows(model: Any, signal: Signal, value: Any) -> Any:
    """Rows ``(B * h * w * A, D)`` of each level; other signals as they are."""
    if not is_anchors(signal):
        return value
    return level_rows(model.rpn_head, signal, value)


def check_rpn(head: nn.Module, name: str, whose: str) -> None:
    """Refuse an RPN whose anchors or labels mean something else.

    Args:
        head: The ``rpn_head``.
        name: The signal.
        whose: ``student`` or ``teacher``, for the message.

    Raises:
        ValueError: If it does not train as an RPNHead or a one-stage
            detector's head.
    """
    loss = getattr(type(head), 'loss_by_feat', None)
    if loss in [form.loss_by_feat for form in (RPNHead, *FORMS)]:
        return
    raise ValueError(
        f'signal {name!r}: the rpn_head of the {whose} '
        f'({type(head).__name__}) computes its loss in a way of its own, so '
        "the labels of its anchors are not known. Compare 'neck', or take "
        'RPNHead.'
    )


def check_anchors(
    key: str,
    model: Any,
    ours: list[Signal],
    other: Any,
    theirs: list[Signal],
    whose: str,
) -> None:
    """Refuse to compare rows of other anchors, see :meth:`Family.check`.

    Raises:
        ValueError: If only one side has rows of anchors, if they are not the
            same outputs, or if the anchors differ.
    """
    rows = [[s.name for s in side if is_anchors(s)] for side in (ours, theirs)]
    if not any(rows):
        return
    if rows[0] != rows[1]:
        raise ValueError(
            f'model.distill.{key}: {quoted(ours)} of the student and '
            f'{quoted(theirs)} of the {whose} have other rows. Compare the '
            'same signals of both.'
        )
    check_priors(key, model.rpn_head, other.rpn_head, whose, 'rpn_head')
