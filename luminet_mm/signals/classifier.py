"""Classifiers: a row is an image.

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

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.models.utils import to_2tuple
from torch import Tensor, nn

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.signals.cls_heads import check_head
from luminet_mm.signals.family import Family, Size
from luminet_mm.signals.preact import has_output
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import (
    Signal,
    overridden,
    read_signal,
    regroup_by_name,
    tap_path,
    unknown_signal,
)

_PARTS = ('backbone', 'neck', 'head')  # in the order in which they run
SIDES = (64, 128, 192, 224, 240, 256, 299, 320, 336, 384, 448, 512, 32, 28)
"""Sides of the images of dry runs, in the order in which they are tried."""


@dataclass
class ClassifierRecord(Record):
    """The signals of one pass of a classifier, and its labels.

    Attributes:
        model: The student.
        samples: What is known of the images.
        values: Signals by name.
    """

    model: Any
    samples: Sequence
    values: dict[str, Any] = field(default_factory=dict)

    def read(self, signal: Signal) -> Any:
        """See :meth:`Record.read`."""
        return read_signal(self.values, signal)

    def batch(self, signals: Sequence[Signal]) -> DistillBatch:
        """What is known of the images, whatever is compared."""
        return self._known

    @cached_property
    def _known(self) -> DistillBatch:
        """Labels of a batch: hard ones unless they are mixed or soft."""
        batch = DistillBatch()
        samples = self.samples
        if all('sample_idx' in sample for sample in samples):
            batch.sample_ids = torch.tensor(
                [sample.sample_idx for sample in samples]
            )
        preprocessor = self.model.data_preprocessor
        hard = all(
            'gt_label' in sample
            and sample.gt_label.numel() == 1
            and (preprocessor.to_onehot or 'gt_score' not in sample)
            for sample in samples
        )
        if hard and preprocessor.batch_augments is None:
            batch.labels = torch.cat([each.gt_label for each in samples])
        elif all('gt_score' in sample for sample in samples):
            batch.soft_labels = torch.stack([x.gt_score for x in samples])
        return batch


class Classifier(Family):
    """Classifiers of MMPretrain; as a teacher any model that gives logits."""

    scope = 'mmpretrain'
    stock = ImageClassifier
    kinds = 'classifiers with a backbone, a neck and a head'
    usual = dict(logits='logits', maps='backbone', vectors='feats')
    head = 'head'
    advice = "compare 'feats', or take a head like LinearClsHead"

    def names(self, model: Any) -> list[str]:
        """See :meth:`Family.names`.

        A teacher that is not an :class:`ImageClassifier`, such as one of
        timm's, publishes its logits.
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

    def find(self, model: Any, name: str, whose: str) -> Signal:
        """See :meth:`Family.find`."""
        published = self.names(model)
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

    def activation(self, model: Any, signals: Sequence[Signal]) -> str:
        """See :meth:`Family.activation`."""
        if 'logits' not in [signal.name for signal in signals]:
            return ''
        multi_label = isinstance(_head(model), MultiLabelClsHead)
        return 'sigmoid' if multi_label else 'softmax'

    def num_classes(self, model: Any, signals: Sequence[Signal]) -> int | None:
        """See :meth:`Family.num_classes`."""
        return getattr(_head(model), 'num_classes', None)

    def check(
        self, key, model, ours, other, theirs, whose='teacher', classes=None
    ) -> None:
        """See :meth:`Family.check`."""
        for side, each, signals in (
            ('student', model, ours),
            (whose, other, theirs),
        ):
            if self.activation(each, signals):
                check_head(key, side, _head(each))
        if len(ours) == len(theirs) == 1:
            super().check(key, model, ours, other, theirs, whose, classes)

    @contextmanager
    def record(
        self, model: Any, signals, images: Tensor, samples: Sequence
    ) -> Iterator[ClassifierRecord]:
        """See :meth:`Family.record`."""
        record = ClassifierRecord(model, samples)
        with _tapped(model, signals, record.values):
            yield record

    def ahead(
        self, model: Any, images: Tensor, signals: Sequence[Signal]
    ) -> dict[str, Any]:
        """Run as much of the model as the signals need; values by name."""
        last = max(_PARTS.index(signal.part) for signal in signals)
        # what the calls below return needs no hook, which a compiled backbone
        # would not call
        tapped = [s for s in signals if s.path or s.part == 'head']
        store: dict[str, Any] = {}
        direct: dict[str, Any] = {}
        with _tapped(model, tapped, store):
            if not isinstance(model, ImageClassifier):
                model(images, mode='tensor')
            else:
                outputs = direct['backbone'] = model.backbone(images)
                if last > 0 and model.with_neck:
                    outputs = direct['neck'] = model.neck(outputs)
                if last > 1:
                    model.head(outputs)
        store = {**direct, **store}
        return {s.name: read_signal(store, s) for s in signals}

    def answer(
        self, model: Any, ahead: dict, questions, record: Record | None
    ) -> list:
        """Nothing is left to compute: the teacher has seen the same rows."""
        return regroup_by_name(ahead, [each.asked for each in questions])

    def sizes(self, models: Sequence) -> list[Size]:
        """Sides of the images of a dry run, the likely first.

        Many transformers take one size, and some networks none that is less
        than their windows; most convolutional networks take any.
        """
        models = [each for each in models if isinstance(each, self.stock)]
        own = max(
            max(to_2tuple(getattr(each.backbone, 'img_size', 0)))
            for each in models
        )
        inner = [
            max(to_2tuple(module.img_size))
            for each in models
            for module in each.modules()
            if isinstance(getattr(module, 'img_size', None), (int, tuple))
        ]
        sides = [own or SIDES[0], *inner[:1], *SIDES]
        return [(side, side) for side in sides]

    def image_sizes(
        self, model: Any, images: Tensor, samples: Sequence
    ) -> list[Size]:
        """See :meth:`Family.image_sizes`.

        Some transforms of MMPretrain leave ``img_shape`` as the file had it.
        So it counts only where a batch was padded to its largest image.
        """
        height, width = images.shape[-2:]
        whole = height, width
        sizes = [
            tuple(getattr(sample, 'img_shape', whole)[:2])
            for sample in samples
        ]
        divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
        padded = tuple(
            -(-max(lengths) // divisor) * divisor
            for lengths in zip(*sizes, strict=True)
        )
        return sizes if padded == whole else [whole] * len(sizes)

    def introduce(self, model: Any, teachers: Sequence) -> None:
        """Hand a head that takes a teacher's classifier its teacher."""
        if isinstance(model.head, ReusedClsHead):
            model.head.reuse(teachers)

    def own_losses(self, losses: dict) -> dict:
        """The head's ``loss`` as ``loss_cls``: MMEngine's total hides it."""
        if 'loss' in losses:
            return dict(loss_cls=losses.pop('loss'), **losses)
        return losses


def _head(model: Any) -> nn.Module | None:
    return getattr(model, 'head', None)


@contextmanager
def _tap_pre_logits(head: Any, store: dict) -> Iterator[None]:
    """Keep what the head's ``pre_logits`` returns; it is not a module.

    The override sits on the instance and only while the block runs.
    """

    def pre_logits(stock, *args, **kwargs):
        store['feats'] = stock(*args, **kwargs)
        return store['feats']

    with overridden(head, pre_logits):
        yield


@contextmanager
def _tapped(
    model: Any, signals: Sequence[Signal], store: dict
) -> Iterator[None]:
    """Keep signals of a pass that happens inside the block, by name."""
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
        yield
