"""What every loss promises, as classes to inherit the tests from.

Each method's test file has one class of a few lines for each of its forms::

    class TestKD(LogitContract):
        loss = KDLoss
        options = {'tau': 2.0}

Where a loss cannot keep a promise, its class sets the test to None and says
why beside it.
"""

from losses.contracts.dense import DenseContract
from losses.contracts.feature import FeatureContract
from losses.contracts.logit import LogitContract
from losses.contracts.query import QueryContract

__all__ = [
    'DenseContract',
    'FeatureContract',
    'LogitContract',
    'QueryContract',
]
