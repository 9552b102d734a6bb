"""Named signals of a classifier: tapped in training, or computed.

============  =============================================================
name          value
============  =============================================================
``backbone``  tuple of maps, one per output stage
``neck``      what the neck makes of them, if there is one
``feats``     ``(B, D)`` input of the last linear layer (pooled, or the class
              token); a pair where the head reads two tokens
``logits``    ``(B, C)`` class scores before the softmax
============  =============================================================

Any other name is the dotted path of a module (``backbone.layer3``,
``head.layers.head_dist``) and stands for that module's output, or, with
``.preact`` behind it, for the map before a block's last ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any

from mmengine.model import BaseModel
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import (
    ConformerHead,
    MultiLabelClsHead,
    MultiTaskHead,
    RegressionHead,
)
from torch import Tensor, nn

from luminet_mm.signals.preact import has_output
from luminet_mm.signals.signal import (
    Signal,
    read_signal,
    tap_path,
    unknown_signal,
)

_PARTS = ('backbone', 'neck', 'head')  # in the order in which they run


def signal_names(model: BaseModel) -> list[str]:
    """The names that a classifier publishes, dotted paths aside.

    A teacher that is no :class:`ImageClassifier`, such as one of timm's,
    publishes its logits.
    """
    if not isinstance(model, ImageClassifier):
        return ['logits']
    names = ['backbone']
    if model.with_neck:
        names.append('neck')
    if model.with_head:
        if hasattr(model.head, 'pre_logits'):
            names.append('feats')
        names.append('logits')
    return names


def find_signal(model: BaseModel, name: str, whose: str) -> Signal:
    """Look a name up.

    Args:
        model (BaseModel): The classifier.
        name (str): A published name or a module's dotted path.
        whose (str): ``student`` or ``teacher``, for the message.

    Raises:
        ValueError: If the classifier has no such signal.
    """
    published = signal_names(model)
    if name in published:
        if name in ('feats', 'logits'):
            return Signal(name, 'head', name)
        return Signal(name, name)
    head = name.split('.')[0]
    if head not in ('', 'distill', 'data_preprocessor'):
        if has_output(model, name):
            part = head if head in _PARTS else 'head'
            return Signal(name, part, path=name)
    raise unknown_signal(model, name, whose, published, '')


@contextmanager
def _tap_pre_logits(head: Any, store: dict) -> Iterator[None]:
    """Keep what the head's ``pre_logits`` returns; it is no module.

    The override sits on the instance and only while the block runs.
    """
    compute = head.pre_logits

    def pre_logits(*args, **kwargs):
        store['feats'] = compute(*args, **kwargs)
        return store['feats']

    head.pre_logits = pre_logits
    try:
        yield
    finally:
        del head.pre_logits


@contextmanager
def record_signals(
    model: BaseModel, signals: list[Signal]
) -> Iterator[dict[str, Any]]:
    """Record signals of a pass that happens inside the block.

    Args:
        model (BaseModel): The classifier.
        signals (list[Signal]): What to keep.

    Yields:
        dict: Values by name, filled when the block ends.
    """
    store: dict[str, Any] = {}
    with ExitStack() as stack:
        for signal in {signal.name: signal for signal in signals}.values():
            name = signal.name
            if name == 'feats':
                stack.enter_context(_tap_pre_logits(model.head, store))
                continue
            path = 'head' if name == 'logits' else name
            if path == 'head' and not isinstance(model, ImageClassifier):
                path = ''  # the model's own output
            stack.enter_context(
                tap_path(model, path, store, name, bool(signal.path))
            )
        yield store


def compute_signals(
    model: BaseModel, batch_inputs: Tensor, signals: list[Signal]
) -> list:
    """Run only as much of a classifier as the asked signals need.

    Args:
        model (BaseModel): The teacher, in eval mode.
        batch_inputs (Tensor): Images as the teacher expects them,
            ``(B, 3, H, W)``.
        signals (list[Signal]): What is asked for.

    Returns:
        list: The value of each signal.

    Raises:
        RuntimeError: If a module of a dotted path does not run.
    """
    last = max(_PARTS.index(signal.part) for signal in signals)
    # what the calls below return needs no hook, which a compiled backbone
    # would not call
    tapped = [s for s in signals if s.path or s.part == 'head']
    direct: dict[str, Any] = {}
    with record_signals(model, tapped) as store:
        if not isinstance(model, ImageClassifier):
            model(batch_inputs, mode='tensor')
        else:
            outputs = direct['backbone'] = model.backbone(batch_inputs)
            if last > 0 and model.with_neck:
                outputs = direct['neck'] = model.neck(outputs)
            if last > 1:
                model.head(outputs)
    return [read_signal({**direct, **store}, signal) for signal in signals]


def check_head(name: str, side: str, head: nn.Module | None) -> None:
    """Refuse classifiers whose output are not the logits of one softmax.

    Args:
        name (str): Key of the loss.
        side (str): Whose head it is.
        head (nn.Module | None): The head.

    Raises:
        ValueError: If it is such a head.
    """
    what, advice = '', "compare 'feats', or take a head like LinearClsHead"
    if isinstance(head, MultiLabelClsHead):
        what = 'gives every class a probability of its own'
    elif isinstance(head, ConformerHead):
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
            f"model.distill.{name}: the {side}'s head "
            f'({type(head).__name__}) {what}, so its output are no logits '
            f'to compare; {advice}.'
        )
