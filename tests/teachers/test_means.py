"""The mean of several teachers' logits."""

import pytest
import torch

from luminet_mm.teachers.means import weighted_mean


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_a_weighted_mean_is_in_float32_or_more(dtype):
    values = [torch.tensor([1.0, 2.0], dtype=dtype), torch.ones(2).to(dtype)]
    mean = weighted_mean(values, [3, 1])
    assert mean.dtype == torch.promote_types(dtype, torch.float32)
    assert mean.tolist() == [1, 1.75]
    assert weighted_mean(values[:1], [0.2]).tolist() == [1, 2]
    levels = weighted_mean([values, values[::-1]], [3, 1])
    assert torch.equal(levels[0], mean) and len(levels) == 2


def test_logits_of_other_classes_have_no_mean():
    with pytest.raises(ValueError, match=r'shapes, \(2, 3\), \(2, 4\)\. All'):
        weighted_mean([torch.ones(2, 4), torch.ones(2, 3)], [1, 1])
