"""A family of plain networks: no part of it is of OpenMMLab.

A row is one image of those that the student draws in its own pass.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from luminet_mm.distillers.mixin import DistillMixin
from luminet_mm.losses import DistillBatch
from luminet_mm.registry import MODELS
from luminet_mm.signals.family import Family
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import (
    Signal,
    read_signal,
    tap_output,
    unknown_signal,
)

NUM_CLASSES = 5
_MODULES = dict(maps='body', logits='net')


@MODELS.register_module(force=True)
class ToyNet(nn.Module):
    """Maps ``(B, width, H, W)``, and ``(N, C)`` logits of drawn images."""

    def __init__(
        self, width=4, num_classes=NUM_CLASSES, data_preprocessor=None
    ):
        super().__init__()
        self.data_preprocessor = data_preprocessor
        self.body = nn.Conv2d(3, width, 1)
        self.net = nn.Linear(width, num_classes)
        self.net.num_classes = num_classes

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.predict(inputs)

    def init_weights(self):
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)

    def predict(self, images, rows=slice(None)):
        return self.net(self.body(images).relu().mean((2, 3))[rows])

    def loss(self, inputs, data_samples):
        rows = torch.randperm(len(inputs))[: len(inputs) // 2]
        self.drawn = rows
        labels = torch.tensor([data_samples[i].label for i in rows])
        return dict(
            loss_own=F.cross_entropy(self.predict(inputs, rows), labels)
        )


@dataclass
class ToyRecord(Record):
    model: nn.Module
    samples: list
    values: dict = field(default_factory=dict)

    def read(self, signal):
        return read_signal(self.values, signal)

    def batch(self, signals):
        if signals[0].name == 'maps':
            return DistillBatch()
        rows = self.model.drawn
        return DistillBatch(
            labels=torch.tensor([self.samples[i].label for i in rows])
        )


class ToyFamily(Family):
    scope = 'luminet_mm'
    stock = ToyNet
    kinds = 'toys'
    usual = dict(logits='logits', maps='maps')
    head = 'net'

    def names(self, model):
        return list(_MODULES)

    def find(self, model, name, whose):
        if name not in _MODULES:
            raise unknown_signal(model, name, whose, self.names(model), '')
        return Signal(name, name)

    def activation(self, model, signals):
        return 'softmax' if signals[0].name == 'logits' else ''

    def num_classes(self, model, signals):
        return model.net.num_classes

    @contextmanager
    def record(self, model, signals, images, samples):
        record = ToyRecord(model, samples)
        with _tapped(model, record.values):
            yield record

    def ahead(self, model, images, signals):
        return dict(maps=model.body(images))

    def answer(self, model, ahead, questions, record):
        rows = record.model.drawn if record else slice(None)
        pooled = ahead['maps'].relu().mean((2, 3))[rows]
        values = dict(ahead, logits=model.net(pooled))
        return [values[question.asked[0].name] for question in questions]

    def dry(self, model, questions, images):
        ahead = self.ahead(model, images, [])
        return self.answer(model, ahead, questions, None)

    def sizes(self, models):
        return [(4, 4)]


@contextmanager
def _tapped(model, store):
    body = tap_output(model.body, store, 'maps')
    with body, tap_output(model.net, store, 'logits'):
        yield


@MODELS.register_module(force=True)
class ToyDistiller(DistillMixin, ToyNet):
    family = ToyFamily()


def batch(num_images=6):
    """Images and what is annotated of them."""
    generator = torch.Generator().manual_seed(0)
    return dict(
        inputs=torch.randn(num_images, 3, 4, 4, generator=generator),
        data_samples=[
            SimpleNamespace(img_shape=(4, 4), label=i % NUM_CLASSES)
            for i in range(num_images)
        ],
    )


def teacher(width=6, **options):
    """An entry of the block ``teacher``."""
    model = dict(type='luminet_mm.ToyNet', width=width)
    return dict(config=dict(model=model), checkpoint=None, **options)


def build(teachers, seed=0, **distill):
    """A student with teachers."""
    torch.manual_seed(seed)
    model = ToyDistiller(teacher=teachers, distill=distill)
    model.init_weights()
    for each in model.teachers:
        each.model.init_weights()
    return model
