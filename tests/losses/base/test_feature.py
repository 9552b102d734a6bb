"""The base of losses on features, and what they share.

What every loss on features promises is in losses/contracts/feature.py.
"""

import pytest

from luminet_mm.losses import ATLoss, FeatureLoss


@pytest.mark.parametrize('levels', [[], 'all', [1.5]])
def test_bad_levels_are_named(levels):
    with pytest.raises(ValueError, match='ATLoss: levels is'):
        ATLoss(levels=levels)


def test_a_loss_has_to_be_implemented():
    with pytest.raises(TypeError, match='compute'):
        FeatureLoss()
