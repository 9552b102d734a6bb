"""CIFARVGG: the numbers of the original networks, and depths refused."""

import pytest
from cifar_nets import CIFARContract

from luminet_mm.models import CIFARVGG


class TestCIFARVGG(CIFARContract):
    networks = ('vgg8', 'vgg13')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(depth=16), 'depth=16: give 8 or 13'),
        (dict(depth=8, out_indices=(5,)), r'\(5,\).*maps 0 to 4'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CIFARVGG(**arguments)
