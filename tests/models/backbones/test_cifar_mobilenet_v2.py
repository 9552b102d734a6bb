"""CIFARMobileNetV2: the numbers of the original network."""

import pytest
from cifar_nets import CIFARContract

from luminet_mm.models import CIFARMobileNetV2


class TestCIFARMobileNetV2(CIFARContract):
    networks = ('MobileNetV2',)
    preact = False  # its blocks end without a ReLU


def test_maps_have_the_names_of_the_stages():
    with pytest.raises(ValueError, match='stem, layer1.*conv2'):
        CIFARMobileNetV2(out_indices=(6,))
