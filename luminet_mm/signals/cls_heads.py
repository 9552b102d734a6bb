"""Which heads of classifiers give logits that can be compared."""

from __future__ import annotations

from inspect import signature

from mmpretrain.models.heads import (
    ConformerHead,
    MultiTaskHead,
    RegressionHead,
)
from torch import nn


def check_head(key: str, side: str, head: nn.Module | None) -> None:
    """Refuse classifiers whose output cannot be compared as logits.

    Args:
        key: The loss's key in the block ``distill``.
        side: Whose head it is.
        head: The head.

    Raises:
        ValueError: If it is such a head.
    """
    what, advice = '', "compare 'feats', or take a head like LinearClsHead"
    if isinstance(head, ConformerHead):
        what = 'gives two logits, of its convolutions and of its tokens'
        advice = (
            "name one of them: 'head.conv_cls_head' or 'head.trans_cls_head'"
        )
    elif isinstance(head, MultiTaskHead):
        what = 'gives logits of several tasks'
        advice = "name those of one, as in 'head.task_heads.<task>'"
    elif isinstance(head, RegressionHead):
        what = 'predicts numbers and not classes'
    elif head is not None and 'target' in signature(head.forward).parameters:
        what = 'adds a margin to the logits of the labelled class'
    if what:
        raise ValueError(
            f"model.distill.{key}: the {side}'s head "
            f'({type(head).__name__}) {what}, so its output cannot be '
            f'compared as logits; {advice}.'
        )
