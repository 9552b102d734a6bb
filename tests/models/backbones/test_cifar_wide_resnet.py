"""CIFARWideResNet: the numbers of the original networks, and sizes refused."""

import pytest
from cifar_nets import CIFARContract

from luminet_mm.models import CIFARWideResNet


class TestCIFARWideResNet(CIFARContract):
    networks = ('wrn_16_2', 'wrn_40_1', 'wrn_40_2')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(depth=20, widen_factor=1), r'6 n \+ 4'),
        (dict(depth=16, widen_factor=0.5), 'whole number'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CIFARWideResNet(**arguments)
