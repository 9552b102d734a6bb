"""What is refused as a feature, or as a pair of features."""

import pytest
import torch

from luminet_mm.losses.base.checks import (
    check_kinds,
    check_pairs,
    is_number,
)

VECTORS, MAPS = torch.rand(2, 3), torch.rand(2, 3, 4, 4)


def test_features_of_the_kinds_pass():
    check_kinds('x', 'student', [VECTORS, MAPS], (2, 4))
    check_kinds('x', 'student', [], (2,))


@pytest.mark.parametrize(
    ('item', 'what'),
    [
        (MAPS, r'shape \(2, 3, 4, 4\)'),
        (VECTORS[0], r'shape \(3,\)'),
        (None, 'type NoneType'),
    ],
)
def test_what_is_not_of_the_kinds_is_named(item, what):
    with pytest.raises(ValueError) as error:
        check_kinds('loss_x', 'teacher', [VECTORS, item], (2, 3))
    message = str(error.value)
    assert message.startswith("loss_x: the teacher's signal has a value of")
    assert 'vectors (B, D) or tokens (B, N, D)' in message
    pytest.raises(ValueError, check_kinds, 'x', 's', [item], (3,)).match(what)


def test_pairs_need_equal_rows_and_what_is_asked_for():
    wide, small = torch.rand(2, 5, 4, 4), torch.rand(2, 3, 2, 2)
    check_pairs('x', [MAPS, MAPS], [wide, small])
    check_pairs('x', [MAPS], [small], width=True)
    check_pairs('x', [MAPS], [wide], size=True)
    check_pairs('x', [MAPS], [MAPS + 1], width=True, size=True)


@pytest.mark.parametrize(
    ('student', 'teacher', 'options', 'needs'),
    [
        ([], [], {}, 'equal rows'),
        ([MAPS], [MAPS, MAPS], {}, 'equal rows'),
        ([MAPS], [VECTORS], {}, 'equal rows'),
        ([MAPS], [MAPS[:1]], {}, 'equal rows'),
        ([MAPS], [MAPS[:, :1]], {'width': True}, 'equal rows and channels'),
        ([MAPS], [MAPS[..., :1]], {'size': True}, 'equal rows and sizes'),
    ],
)
def test_what_cannot_be_compared_is_named(student, teacher, options, needs):
    with pytest.raises(ValueError, match=f'^loss_x: .* with {needs}') as error:
        check_pairs('loss_x', student, teacher, instead=' or ask', **options)
    assert str(error.value).endswith('or name other signals or ask.')


def test_numbers_are_finite_and_not_bools():
    assert all(map(is_number, (0, -2, 0.5)))
    assert not any(map(is_number, (True, '1', None, float('inf'))))
    assert not is_number(float('nan'))
