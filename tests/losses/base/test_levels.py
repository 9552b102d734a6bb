"""Which tensors of a signal a loss compares."""

import pytest
import torch

from luminet_mm.losses import ATLoss
from luminet_mm.losses.base.levels import choose, read_levels


def test_the_option():
    assert read_levels('X', None) is None
    assert read_levels('X', [2, -1]) == (2, -1)
    with pytest.raises(ValueError, match=r"^X: levels is 'all'; set a list"):
        read_levels('X', 'all')


def test_a_signal_is_one_tensor_or_several():
    one, two = torch.zeros(1), torch.ones(1)
    assert choose('X', 'student', one, None) == [one]
    assert choose('X', 'student', (one, two), None) == [one, two]
    assert choose('X', 'student', (one, two), [1]) == [two]
    said = r"^X: levels is \[2\], but the teacher's signal has only 2"
    with pytest.raises(ValueError, match=said):
        choose('X', 'teacher', (one, two), [2])


def test_each_side_may_have_its_own():
    loss = ATLoss()
    assert loss.levels_of('student') is loss.levels_of('teacher') is None
    loss.pair([0, 1], [1, 2])
    assert loss.levels_of('student') == (0, 1)
    assert loss.levels_of('teacher') == (1, 2)
    small, middle, large = (torch.rand(2, 3, n, n) for n in (2, 4, 8))
    paired = loss([middle, small], [large, middle, small])
    assert torch.equal(paired, ATLoss()([middle, small], [middle, small]))
    assert ATLoss(levels=[1]).levels_of('teacher') == (1,)
