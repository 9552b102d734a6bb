"""Kinds of signals have a usual name in each task."""

import pytest

from luminet_mm.losses.base.card import KINDS
from luminet_mm.methods.signals import TASKS, USUAL, usual


def test_one_kind_or_several():
    assert usual('logits', 'detector') == 'roi.cls_score'
    assert usual(('stem', 'maps'), 'classifier') == [
        'backbone.stem',
        'backbone.layer1',
        'backbone.layer2',
        'backbone.layer3',
    ]
    assert usual(('maps', 'boxes'), 'detector') == ['neck', 'roi.bbox_pred']


def test_kinds_are_those_of_the_cards():
    assert set(USUAL) == set(TASKS)
    for names in USUAL.values():
        assert set(names) <= set(KINDS)
    with pytest.raises(KeyError):
        usual('tokens', 'detector')
