"""Boxes in bytes: how far what is read may be from what was said."""

import numpy as np

from luminet_mm.teachers.box_layout import (
    AROUND,
    INSIDE,
    PARTS,
    BoxAnswers,
    best_class,
    from_grid,
    item_type,
    pack,
    to_grid,
    unpack,
)


def answers(boxes=7, columns=11, seed=0, scale=5.0):
    draw = np.random.default_rng(seed)
    return BoxAnswers(
        draw.random((boxes, 4)),
        draw.standard_normal((boxes, columns)) * scale,
        draw.uniform(*AROUND, (boxes, 4)),
    )


def test_coco_fits_into_52_kb():
    """512 boxes of 81 columns, computed; measured in test_box_cache.py."""
    assert item_type(512, 81).itemsize == 512 * (81 + 4 + 8 + 8) == 51_712


def test_a_logit_moves_by_half_a_step_of_its_row_at_most():
    """A step is 1/254 of what lies between a row's ends."""
    view = answers(64, 81)
    read = unpack(pack(view)[None], 64, 81).scores[0]
    steps = np.ptp(view.scores, axis=1) / 254
    gap = np.abs(read - view.scores).max(axis=1)
    assert (gap <= 0.5 * steps * 1.01 + 1e-4).all()
    assert (gap > steps / 8).all(), 'it would notice a finer grid'


def test_corners_move_by_half_a_part_at_most():
    corners = np.linspace(0, 1, 10_001)
    read = from_grid(to_grid(corners, INSIDE), INSIDE)
    assert np.abs(read - corners).max() <= 0.5 / PARTS + 1e-7
    assert (read[0], read[-1]) == (0, 1)
    # 0.01 pixels of an image 1,333 pixels wide
    assert 1333 * 0.5 / PARTS < 0.011
    wide = np.array([-3.0, -0.5, 0.0, 1.5, 7.0])
    read = from_grid(to_grid(wide, AROUND), AROUND)
    np.testing.assert_allclose(read, wide.clip(*AROUND), atol=2 / PARTS)
    again = to_grid(read, AROUND)
    assert np.array_equal(again, to_grid(wide, AROUND))


def test_what_is_packed_comes_out_view_by_view():
    views = [answers(seed=seed) for seed in range(3)]
    entries = np.stack([pack(view) for view in views])
    assert entries.shape == (3, item_type(7, 11).itemsize)
    assert entries.dtype == np.uint8
    # as a file gives them: rows of a larger array, in another order
    found = unpack(np.concatenate([entries, entries])[[2, 3]], 7, 11)
    for i, view in enumerate((views[2], views[0])):
        np.testing.assert_allclose(found.boxes[i], view.boxes, atol=1e-5)
        np.testing.assert_allclose(found.goals[i], view.goals, atol=2e-5)
        most = np.ptp(view.scores) / 254
        np.testing.assert_allclose(found.scores[i], view.scores, atol=most)
        assert found.scores.dtype == found.boxes.dtype == np.float32


def test_the_best_class_is_that_of_what_is_read():
    """Two classes may become equal: reader and writer take one of them."""
    logits = np.array([[3.0, 3.001, 9.0], [-1.0, 2.0, 0.0]])
    assert best_class(logits).tolist() == [0, 1]
    assert logits[:, :-1].argmax(1).tolist() == [1, 1]
