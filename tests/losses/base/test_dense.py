"""The base of losses on points: a loss of a test's own keeps the contract."""

import pytest
import torch
from losses.contracts import DenseContract

from luminet_mm.losses import DenseLoss
from luminet_mm.losses.base.dense import LevelLoss
from luminet_mm.registry import MODELS


class SquaredLogits(LevelLoss):
    """Squared distance of the classes' logits."""

    def compute(self, level, student, teacher, points):
        distance = (student[0] - teacher[0]).square().sum(dim=1)
        return (distance * points.weights[level]).sum() / points.num_pos


class TestSquares(DenseContract):
    loss = SquaredLogits
    test_is_registered_for_sigmoids_without_parameters = None  # not registered


def test_it_has_to_be_implemented():
    for base in (DenseLoss, LevelLoss):
        with pytest.raises(TypeError, match='abstract'):
            base()


def test_signals_are_counted():
    student, teacher, batch = TestSquares.case()
    with pytest.raises(ValueError, match='of cls_score'):
        SquaredLogits()([student[0]] * 2, [teacher[0]] * 2, batch)


def test_one_signal_needs_no_list_of_signals():
    student, teacher, batch = TestSquares.case()
    one = SquaredLogits()(student[0], teacher[0], batch)
    assert torch.equal(one, SquaredLogits()(student, teacher, batch))
    assert 'SquaredLogits' not in MODELS.module_dict
