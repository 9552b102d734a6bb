"""A learned temperature climbs where the student descends."""

import copy

import pytest
import torch

STRENGTH = 0.25


def assert_climbs(loss, value):
    """The temperature's gradient is the reversed derivative of the loss.

    Args:
        loss: A loss in float64 with a learned ``tau``. It stays as it is, so
            that one which draws anew in each step draws the same.
        value: Calls a loss and returns the scalar.
    """
    loss.part_factors['temperature'] = STRENGTH

    def moved(step):
        each = copy.deepcopy(loss)
        each.temperature.raw.data.add_(step)
        return each, value(each)

    here, found = moved(0.0)
    found.backward()
    high, low = (moved(step)[1].item() for step in (1e-5, -1e-5))
    slope = (high - low) / 2e-5
    # of values around 10, rounding leaves 1e-10 of the difference
    assert abs(slope) > 1e-4
    assert here.temperature.raw.grad.item() == pytest.approx(
        -STRENGTH * slope, rel=1e-4
    )


def as_number(loss):
    """The loss with the number that its temperature has now."""
    fixed = copy.deepcopy(loss)
    fixed.temperature = None
    fixed.tau = loss.tau.item()
    return fixed


def assert_same_for_the_student(loss, gradients):
    """The student gets the gradients of the number that the temperature is.

    Args:
        loss: A loss in float64 with a learned ``tau``.
        gradients: Of a loss, its value and the student's gradients.
    """
    torch.testing.assert_close(
        gradients(copy.deepcopy(loss)), gradients(as_number(loss))
    )
