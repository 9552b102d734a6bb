"""Extra parameters are those of a loss that is built."""

import pytest

from luminet_mm.methods import METHODS
from luminet_mm.methods.parameters import extra_parameters

BY_LOSS = {method.loss: method for method in METHODS}


@pytest.mark.parametrize(
    ('loss', 'task', 'count'),
    [
        ('KDLoss', 'classifier', 0),
        ('SRDLoss', 'classifier', 64 * 64),
        ('SRDLoss', 'detector', 256 * 256),
        ('FitNetLoss', 'detector', 5 * (256 * 256 + 3 * 256)),
        # its neck is the student's and counts here
        ('SimKDLoss', 'classifier', 13568),
        # of five levels there are four bridges back
        ('FCFDRoILoss', 'detector', 9 * (9 * 256 * 256 + 2 * 256)),
        ('USKDLoss', 'classifier', 33 * 100),
    ],
)
def test_known_counts(loss, task, count):
    assert extra_parameters(BY_LOSS[loss], task) == count
