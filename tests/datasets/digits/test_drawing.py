"""Chance, backgrounds and ink: pinned, and as they should look."""

import cv2
import numpy as np
import pytest

from luminet_mm.datasets.digits import drawing


def test_data_does_not_depend_on_numpys_distributions(monkeypatch):
    """Only PCG64's raw output is promised never to change."""
    draws = drawing.Draws(1, 2, 3)
    raw = np.random.PCG64(np.random.SeedSequence([1, 2, 3])).random_raw(2000)
    expected = [5 + (int(value) >> 32) * 7 // 2**32 for value in raw]
    found = [draws.between(5, 11) for _ in range(2000)]
    assert found == expected
    assert set(found) == set(range(5, 12))


def test_ink_keeps_the_digits_orientation():
    """Ink in one corner of the cells lands in that corner of the picture."""
    for left in (0, 4):
        for top in (0, 4):
            digit = np.zeros((8, 8), dtype=np.int64)
            digit[top : top + 4, left : left + 4] = 16
            for seed in range(5):
                ink = drawing.draw_ink(digit, 40, drawing.Draws(seed))
                middle = (len(ink) - 1) / 2
                rows, columns = np.nonzero(ink > 127)
                assert (rows.mean() > middle) == (top > 0)
                assert (columns.mean() > middle) == (left > 0)


@pytest.mark.parametrize('height', [16, 40, 64])
def test_ink_has_the_height_that_was_asked_for(height):
    digit = np.zeros((8, 8), dtype=np.int64)
    digit[:, 2:6] = 16
    for seed in range(10):
        ink = drawing.draw_ink(digit, height, drawing.Draws(seed))
        rows = np.flatnonzero((ink > 127).any(1))
        found = rows[-1] - rows[0] + 1
        # Turning by 20 degrees and slanting by a quarter add the rest.
        assert 0.9 * height < found < 1.35 * height


@pytest.mark.parametrize('side', [50, 96, 160])
def test_resize_is_bilinear(side):
    """The integers agree with OpenCV's interpolation to one level."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
    found = drawing._resize(image, 96 if side < 160 else 160)
    expected = cv2.resize(
        image.astype(np.float32), found.shape[:2], interpolation=1
    )
    assert abs(found - expected).max() <= 1.5


def test_resize_averages_before_it_shrinks():
    image = np.indices((300, 300)).sum(0) % 2 * 255
    image = image[..., None].repeat(3, -1).astype(np.uint8)
    assert abs(drawing._resize(image, 100) - 127).max() < 30
    assert abs(drawing._resize(image, 150) - 128).max() == 0
