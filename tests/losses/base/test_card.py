"""Cards: what a loss class says of its method."""

import dataclasses

import pytest

from luminet_mm.losses import KDLoss, LogitLoss, SRDLoss
from luminet_mm.losses.base.card import MDISTILLER, Source


def test_a_card_stands_on_its_class_and_cannot_be_changed():
    assert KDLoss.card.title == 'KD'
    assert not hasattr(LogitLoss, 'card')
    with pytest.raises(dataclasses.FrozenInstanceError):
        KDLoss.card.title = 'DK'
    assert 'card' not in KDLoss().state_dict()
    assert 'card' not in repr(KDLoss())


def test_a_name_is_the_title_without_remarks():
    assert SRDLoss.card.title == 'SRD, the projector recipe'
    assert SRDLoss.card.name == 'SRD'


def test_files_of_a_source():
    one = MDISTILLER.at('a.py', 'b.py')
    assert one == Source(
        'megvii-research/mdistiller', 'a08d46f', 'MIT', ('a.py', 'b.py')
    )
    assert MDISTILLER.files == ()
