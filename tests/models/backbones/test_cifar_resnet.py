"""CIFARResNet: the numbers of the original networks, and depths refused."""

import pytest
from cifar_nets import CIFARContract

from luminet_mm.models import CIFARResNet


class TestCIFARResNet(CIFARContract):
    networks = (
        'resnet8x4',
        'resnet20',
        'resnet32',
        'resnet56',
        'resnet110',
        'resnet32x4',
    )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(depth=18), r'depth=18.*6 n \+ 2'),
        (dict(depth=2), 'depth=2'),
        (dict(depth=8, stage_channels=(16, 32)), 'four numbers'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CIFARResNet(**arguments)
