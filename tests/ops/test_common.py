"""What the operators share: precision, and what a missing one says."""

import pytest
import torch

from luminet_mm.ops.common import INSTALL_COMPILED, missing_op, widen


@pytest.mark.parametrize(
    ('given', 'wide'),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int64, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_widened(given, wide):
    tensor = torch.ones(2, dtype=given)
    assert widen(tensor).dtype == wide
    assert (widen(tensor) is tensor) == (given == wide)


def test_a_missing_operator_says_what_to_install():
    error = missing_op('nms_rotated')
    assert isinstance(error, ImportError)
    assert 'mmcv.ops.nms_rotated needs' in str(error)
    assert INSTALL_COMPILED in str(error)
