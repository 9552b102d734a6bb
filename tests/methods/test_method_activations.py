"""Losses on logits say what turns these into probabilities, and it holds."""

import pytest
import torch
from mmdet.models.task_modules import DeltaXYWHBBoxCoder

import luminet_mm.losses
from luminet_mm.losses import DistillBatch, LogitLoss
from luminet_mm.losses.base.loss import ACTIVATIONS
from luminet_mm.methods import METHODS


class Sees:
    """A network that FCFD asks: its answer depends on the maps alone."""

    levels = 1

    def predict(self, maps, rois):
        means = maps[0].mean(dim=(2, 3))
        return means[:, :5], means[:, :3]


def on_logits(name, student, teacher):
    """A loss of some logits, all else being fixed."""
    torch.manual_seed(0)
    labels = torch.tensor([0, 3, 1, 4, 2, 3])
    batch = DistillBatch(labels=labels, rois=torch.zeros(6, 5))
    cls = getattr(luminet_mm.losses, name)
    if issubclass(cls, LogitLoss):
        return cls()(student, teacher, batch)
    one, other = torch.rand(2, 6, 5, 4, 4, dtype=torch.float64)
    if name == 'USKDLoss':
        return (
            cls().build([student, one]).double()([student, one], None, batch)
        )
    if name == 'RoIBoxLoss':
        loss = cls()
        loss._coders = (DeltaXYWHBBoxCoder(),) * 2
        boxes = torch.rand(2, 6, 16, dtype=torch.float64)
        batch = DistillBatch(rois=torch.rand(6, 5), background=4)
        return loss([student, boxes[0]], [teacher, boxes[1]], batch)
    options = {'paths': 0} if name == 'FCFDLoss' else {}
    rest = [one[:, :3, 0, 0]] if name == 'FCFDRoILoss' else []
    sides = [one, student, *rest], [other, teacher, *rest]
    loss = cls(**options).build(*sides).double()
    loss._networks = dict(student=Sees(), teacher=Sees())
    return loss(*sides, batch)


WITH_LOGITS = [method.loss for method in METHODS if method.cls.activations]


def test_losses_on_logits_say_what_they_take():
    for method in METHODS:
        cls = getattr(luminet_mm.losses, method.loss)
        assert set(cls.activations) <= set(ACTIVATIONS)
        assert cls.activations or not issubclass(cls, LogitLoss), cls
    assert {'FCFDLoss', 'FCFDRoILoss', 'USKDLoss', 'KDLoss'} <= {*WITH_LOGITS}


@pytest.mark.parametrize(
    'name',
    [
        name
        for name in WITH_LOGITS
        if getattr(luminet_mm.losses, name).activations == ('softmax',)
    ],
)
def test_a_softmax_sees_differences_alone(name):
    """A constant added to a row's logits moves a sigmoid, not a softmax."""
    generator = torch.Generator().manual_seed(1)
    both = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    shift = torch.randn(2, 6, 1, generator=generator, dtype=torch.float64)
    # the probabilities of one class against its absence do depend on it
    assert not torch.allclose(both.sigmoid(), (both + shift).sigmoid())
    expected = on_logits(name, *both)
    assert expected > 1e-3
    if name == 'LumiNetLoss':  # takes statistics over rows before its softmax
        assert (on_logits(name, *(both + shift)) - expected).abs() > 1e-3
        shift = shift[:, :1]
    if name == 'SKDLoss':  # compares angles of logits as well
        assert (on_logits(name, *(both + shift)) - expected).abs() > 1e-3
        return
    torch.testing.assert_close(on_logits(name, *(both + shift)), expected)
