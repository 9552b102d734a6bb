"""The usual signals of each kind, for cards that only name kinds."""

from __future__ import annotations

from luminet_mm.losses.base.card import Kind
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.detr import DETRFamily
from luminet_mm.signals.one_stage import OneStage
from luminet_mm.signals.two_stage import TwoStage

TASKS = {
    'classifier': 'classifier',
    'detector': 'two-stage detector',
    'dense': 'one-stage detector',
    'detr': 'DETR',
}
"""Tasks of cards, and what their models are called on pages."""
PYRAMIDS = {'dense': (), 'detr': ('anchors',)}
"""Other detectors with a pyramid, and what they lack: a method that reads
nothing but maps of the two-stage detector works on theirs as well."""
MAPS = ('maps', 'maps before ReLU', 'image vectors')
STAGES = ['backbone.layer1', 'backbone.layer2', 'backbone.layer3']
USUAL: dict[str, dict[str, str | list[str]]] = {
    'classifier': {  # of CIFAR's networks; tokens of a transformer
        **Classifier.usual,
        'image vectors': Classifier.usual['vectors'],
        'stem': 'backbone.stem',
        'first map': STAGES[0],
        'middle map': STAGES[1],
        'last map': STAGES[-1],
        'pooled map': 'backbone',
        'maps': STAGES,
        'maps before ReLU': [f'{stage}.preact' for stage in STAGES],
        'early tokens': 'backbone.layers.1',
        'tokens': [
            'backbone.layers.0',
            'backbone.layers.1',
            'backbone.ln1',
        ],
        'projected map': 'neck.0',
        'expanded map': 'neck.0.expand',
    },
    'detector': {
        **TwoStage.usual,
        'image vectors': 'backbone',
        'maps before ReLU': TwoStage.usual['maps'],
    },
    'dense': {
        **OneStage.usual,
        'image vectors': 'backbone',
        'maps before ReLU': OneStage.usual['maps'],
    },
    'detr': {
        **DETRFamily.usual,
        'image vectors': 'backbone',
        'maps before ReLU': DETRFamily.usual['maps'],
    },
}
"""The usual signals of each kind: the family's, plus those that it lacks.

A family names all maps of its backbone; methods are compared on the maps that
their papers use.
"""


def usual(kind: Kind, task: str) -> str | list[str]:
    """The usual signals of one kind, or a list for several kinds."""
    if isinstance(kind, str):
        return USUAL[task][kind]
    names: list[str] = []
    for each in kind:
        found = USUAL[task][each]
        names += found if isinstance(found, list) else [found]
    return names
