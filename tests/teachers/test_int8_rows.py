"""Rows as int8: what they take, how far off they are, what they refuse."""

import numpy as np
import pytest

from luminet_mm.teachers.int8_rows import (
    are_whole,
    int8_row,
    pack_rows,
    unpack_rows,
)


def bound(values):
    """How far off a row may be: half a step, and float32's rounding."""
    low, high = values.min(-1), values.max(-1)
    centre = np.abs(low + high) / 2
    half = (high - low) / 508 * (1 + 2**-10) + centre * 2**-11 / 250 + 3.1e-8
    return half + np.maximum(abs(low), abs(high)) * 2**-22


@pytest.mark.parametrize('shift', [0, 7, -300])
@pytest.mark.parametrize('scale', [1e-9, 1e-3, 1, 25, 500])
def test_a_number_is_within_half_a_step(scale, shift):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(5, 40, 101)) * scale + shift).astype('f4')
    found = unpack_rows(pack_rows(values))
    assert found.dtype == np.float32 and found.shape == values.shape
    off = np.abs(found.astype('f8') - values).max(-1)
    assert (off <= bound(values.astype('f8'))).all()


def test_rows_have_their_own_scales():
    """One scale for all rows would lose the small one."""
    values = np.array([[1000.0, -1000.0, 0.0], [1e-2, -1e-2, 5e-3]])
    found = unpack_rows(pack_rows(values))
    np.testing.assert_allclose(found[1], values[1], atol=5e-5)


def test_a_thousand_classes_take_1004_bytes(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 1000))
    pack_rows(values).tofile(tmp_path / 'rows')
    assert (tmp_path / 'rows').stat().st_size == 3 * 1004
    again = np.memmap(tmp_path / 'rows', int8_row(1000), 'r')
    np.testing.assert_array_equal(
        unpack_rows(again[[2, 0]]), unpack_rows(pack_rows(values))[[2, 0]]
    )


def test_equal_numbers_come_back():
    values = np.full((2, 5), 3.0)
    np.testing.assert_array_equal(unpack_rows(pack_rows(values)), values)


def test_the_largest_stays_the_largest():
    """Of a row whose first two are further apart than a step."""
    values = np.random.default_rng(1).normal(size=(500, 100)) * 5
    first, second = np.sort(values)[:, :-3:-1].T
    clear = first - second > np.ptp(values, axis=-1) / 250
    found = unpack_rows(pack_rows(values))
    same = found.argmax(-1) == values.argmax(-1)
    assert clear.sum() > 400 and same[clear].all()


def test_a_row_that_is_not_written_stays_so():
    values = np.array([[1.0, np.nan], [1.0, 2.0]])
    packed = pack_rows(values)
    assert are_whole(packed).tolist() == [False, True]
    assert np.isnan(unpack_rows(packed)[0]).all()


@pytest.mark.parametrize('shape', [(0, 4), (3, 0)])
def test_nothing(shape):
    assert unpack_rows(pack_rows(np.zeros(shape))).shape == shape


@pytest.mark.parametrize('value', [np.inf, -np.inf, 1e5])
def test_what_cannot_be_held_is_refused(value):
    with pytest.raises(ValueError, match='infinite or beyond 32752'):
        pack_rows(np.array([[0.0, value]]))
