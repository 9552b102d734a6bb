"""The check for NaN and inf on CUDA, one step late; the CPU's: contracts."""

import copy
import pickle

import pytest
from losses.contracts.logit import rows

from luminet_mm.losses import KDLoss
from luminet_mm.losses.base.finite import FiniteCheck


def test_on_cuda_non_finite_logits_are_reported_at_the_next_call(monkeypatch):
    """The path for CUDA, with the copy to pinned memory taken out."""

    class Event:
        waited = False

        def synchronize(self):
            self.waited = True

    event = Event()
    monkeypatch.setattr(
        FiniteCheck, '_start_copy', staticmethod(lambda flags: (flags, event))
    )
    monkeypatch.setattr(FiniteCheck, '_deferred', staticmethod(lambda _: True))
    student, teacher, batch = rows()
    loss = KDLoss()
    loss(student, teacher, batch)
    broken = student.clone()
    broken[0, 0] = float('nan')
    assert loss(broken, teacher, batch).isnan()
    assert event.waited
    pickle.dumps(copy.deepcopy(loss))  # EMA and checkpoints meet it pending
    with pytest.raises(FloatingPointError, match='of the previous step'):
        loss(student, teacher, batch)
    loss(student, teacher, batch)  # reported once
