"""A part of the cached boxes: which ones, and when it is refused."""

import numpy as np
import pytest

from luminet_mm.teachers.box_layout import BoxAnswers
from luminet_mm.teachers.box_part import (
    BoxPart,
    draw_boxes,
    most,
    part_of,
    part_problem,
)
from luminet_mm.teachers.cache_files import CacheError

CACHED = dict(cache='folder')


def answers(views=2, boxes=6):
    """Each number says of which view and box it is."""
    rows = np.arange(views)[:, None] * 100 + np.arange(boxes)
    rows = rows[..., None].astype(np.float32)
    return BoxAnswers(rows.repeat(4, 2), rows.repeat(3, 2), rows.repeat(4, 2))


def test_a_draw_depends_on_seed_step_and_image_alone():
    one = draw_boxes(3, 10, '7', 64, 16)
    np.random.seed(1)
    assert (one == draw_boxes(3, 10, '7', 64, 16)).all()
    assert len({*one.tolist()}) == 16 and (np.diff(one) > 0).all()
    assert 0 <= one[0] and one[-1] < 64
    for other in ((4, 10, '7'), (3, 11, '7'), (3, 10, '8')):
        assert (one != draw_boxes(*other, 64, 16)).any(), other


def test_a_draw_is_the_same_everywhere():
    """Another one would change what a resumed run compares."""
    assert draw_boxes(0, 0, '1', 12, 4).tolist() == [2, 5, 8, 10]


def test_every_box_has_the_same_chance():
    """In 3,000 steps each of 8 boxes is drawn about 1,125 times, of 3."""
    counts = np.zeros(8)
    pairs = np.zeros((8, 8))
    for step in range(3000):
        drawn = draw_boxes(5, step, 'a', 8, 3)
        counts[drawn] += 1
        pairs[np.ix_(drawn, drawn)] += 1
    spread = np.sqrt(3000 * 3 / 8 * 5 / 8)
    assert np.abs(counts - 1125).max() < 4 * spread
    # and so has every pair: 3 * 2 / (8 * 7)
    apart = pairs[~np.eye(8, dtype=bool)]
    assert np.abs(apart - 3000 * 6 / 56).max() < 4.5 * np.sqrt(3000 * 6 / 56)


def test_a_part_has_the_same_boxes_in_each_field():
    part = part_of(answers(), [np.array([0, 2, 5]), np.array([1, 3, 4])])
    for field, width in zip(part, (4, 3, 4), strict=True):
        assert field.shape == (2, 3, width)
        expected = np.array([[0, 2, 5], [101, 103, 104]])
        assert (field == expected[..., None]).all()


def test_a_step_takes_its_own_part():
    part = BoxPart('it', 4, 6)
    with pytest.raises(CacheError, match=r'^it\.boxes_per_step: nothing says'):
        part(answers(), ['a', 'b'])
    part.now = 3, 10
    found = part(answers(), ['a', 'b']).boxes[..., 0]
    swapped = part(answers(), ['b', 'a']).boxes[..., 0]
    assert (found[0] == draw_boxes(3, 10, 'a', 6, 4)).all()
    assert (found[1] - 100 == draw_boxes(3, 10, 'b', 6, 4)).all()
    assert (swapped[0] == found[1] - 100).all()


@pytest.mark.parametrize('count', [None, 6])
def test_all_boxes_need_no_step(count):
    everything = answers()
    part = BoxPart('it', count, 6)
    assert part(everything, ['a', 'b']) is everything


def test_more_boxes_than_the_cache_has():
    assert most('it', None, 6) == most('it', 6, 6) == ''
    with pytest.raises(CacheError, match=r'^it.boxes_per_step: 7, and .* 6 b'):
        BoxPart('it', 7, 6)


@pytest.mark.parametrize(
    ('block', 'kind', 'message'),
    [
        ({}, 'boxes', ''),
        (dict(CACHED, boxes_per_step=None), 'logits', ''),
        (dict(CACHED, boxes_per_step=1), 'boxes', ''),
        (dict(CACHED, boxes_per_step=0), 'boxes', '0; set a whole number'),
        (dict(CACHED, boxes_per_step=2.0), 'boxes', '2.0; set a whole'),
        (dict(CACHED, boxes_per_step=True), 'boxes', 'True; set a whole'),
        (dict(boxes_per_step=3), 'boxes', ''),
        (dict(boxes_per_step=-3), 'boxes', '-3; set a whole number'),
        (dict(boxes_per_step=3), 'logits', '3, but only two-stage detectors'),
        (dict(boxes_per_step=3), '', ''),  # the model is not known
        (dict(CACHED, boxes_per_step=3), 'logits', '3, but only two-stage'),
    ],
)
def test_what_the_setting_needs(block, kind, message):
    found = part_problem('it', block, kind)
    assert found.startswith(f'it.boxes_per_step: {message}' if message else '')
    assert bool(found) == bool(message)
