"""CIFARShuffleNetV1: the numbers of the original network."""

import pytest
from cifar_nets import ShuffleContract

from luminet_mm.models import CIFARShuffleNetV1


class TestCIFARShuffleNetV1(ShuffleContract):
    networks = ('ShuffleV1',)


def test_a_map_that_is_not_there():
    with pytest.raises(ValueError, match='maps 0 to 3'):
        CIFARShuffleNetV1(out_indices=(-1,))
