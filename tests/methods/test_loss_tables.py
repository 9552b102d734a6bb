"""The tables of docs/losses.md."""

import pytest

from luminet_mm.losses import (
    CRDLoss,
    KDLoss,
    LogitStandardizationKDLoss,
    NSTLoss,
    SRDLoss,
)
from luminet_mm.methods.loss_tables import own_options, replaced


def test_options_are_those_of_the_class_and_not_of_all_losses():
    assert own_options(KDLoss) == dict(tau=1.0)
    assert own_options(NSTLoss) == {}
    # of its own base, and with a weight that is not 1
    assert own_options(LogitStandardizationKDLoss) == dict(
        tau=2.0, alpha=1.0, beta=0.25, base='kd', eps=1e-7, loss_weight=9.0
    )
    assert {'rows', 'extra_tokens', 'form'} <= set(own_options(SRDLoss))
    assert 'num_samples' in own_options(CRDLoss)


def test_a_table_is_replaced_between_its_marks():
    page = 'a\n<!-- cards: x -->\nold\n<!-- end -->\nb\n<!-- end -->\n'
    assert replaced(page, 'x', 'new') == page.replace('old', 'new')
    for bad in (page.replace('cards: x', 'cards: y'), page + page, 'a'):
        with pytest.raises(ValueError, match='<!-- cards: x -->'):
            replaced(bad, 'x', 'new')
