"""Which boxes a teacher is asked about."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from luminet_mm.teachers.box_choice import (
    JITTER,
    boxes_of_sample,
    choose_boxes,
    moved_objects,
    widened,
)

SIZE = 80, 60
OBJECTS = np.array([[10.0, 10, 30, 40], [40.0, 20, 72, 52]])


def proposals(count):
    corner = np.random.default_rng(1).uniform(0, 40, (count, 2))
    return np.concatenate([corner, corner + 15], axis=1)


def choose(found, objects=OBJECTS, count=20, jittered=8, seed=0):
    rng = np.random.default_rng(seed)
    return choose_boxes(found, objects, SIZE, count, jittered, rng)


def near(boxes, objects):
    """Which object each box is a moved copy of; -1 for none."""
    sides = np.tile(objects[:, 2:] - objects[:, :2], 2)
    moves = np.abs(boxes[:, None] - objects) / sides
    fits = (moves <= JITTER + 1e-9).all(axis=2)
    return np.where(fits.any(axis=1), fits.argmax(axis=1), -1)


def test_moved_objects_then_proposals_each_once():
    found = proposals(30)
    boxes = choose(found)
    which = near(boxes[:8], OBJECTS)
    assert sorted(which.tolist()) == [0] * 4 + [1] * 4
    assert len({tuple(box) for box in boxes[:8]}) == 8, 'moved in other ways'
    taken = {tuple(box) for box in boxes[8:].tolist()}
    assert len(taken) == 12 and taken <= {tuple(box) for box in found.tolist()}


@pytest.mark.parametrize('count', [1, 8, 50])
@pytest.mark.parametrize('number', [0, 5, 100])
@pytest.mark.parametrize('objects', [OBJECTS, OBJECTS[:0], OBJECTS * 0])
def test_there_are_always_as_many_inside_and_a_pixel_large(
    count, number, objects
):
    boxes = choose(proposals(number), objects, count, min(count, 8))
    assert boxes.shape == (count, 4)
    assert (boxes >= 0).all() and (boxes <= [*SIZE, *SIZE]).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1 - 1e-9).all()


def test_more_objects_than_places_are_drawn_from():
    many = np.concatenate([OBJECTS + [i, 0, i, 0] for i in range(5)])
    seen = set()
    for seed in range(5):
        boxes = choose(proposals(9), many, 6, 3, seed)
        seen |= {tuple(box) for box in boxes[:3].round(6).tolist()}
    assert len(seen) == 15


def test_the_same_numbers_give_the_same_boxes():
    one, two, other = (choose(proposals(30), seed=s) for s in (3, 3, 4))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_boxes_are_widened_where_they_are():
    boxes = np.array([[5.0, 5, 5, 30], [79.9, 0, 200, 3], [-9, -9, -8, -8]])
    found = widened(boxes, np.zeros(2), np.array(SIZE))
    assert found.tolist() == [[5, 5, 6, 30], [79, 0, 80, 3], [0, 0, 1, 1]]


def test_the_boxes_of_a_sample_are_those_of_its_numbers():
    proposals = torch.tensor([[4.0, 4, 20, 20], [30, 8, 60, 28]])
    objects = torch.tensor([[8.0, 8, 24, 24]])
    sample = SimpleNamespace(
        img_shape=(32, 64), gt_instances=SimpleNamespace(bboxes=objects)
    )
    found, expected = (
        function(*arguments, 4, 2, np.random.default_rng(0))
        for function, arguments in (
            (boxes_of_sample, (proposals, sample)),
            (choose_boxes, (proposals.numpy(), objects.numpy(), (64, 32))),
        )
    )
    assert (found == expected).all() and found[:, 2].max() > 32


@pytest.mark.parametrize(
    ('sampler', 'expected'),
    [(SimpleNamespace(pos_fraction=0.5), 8), (SimpleNamespace(), 4)],
)
def test_as_many_moved_objects_as_the_sampler_draws(sampler, expected):
    student = SimpleNamespace(roi_head=SimpleNamespace(bbox_sampler=sampler))
    assert moved_objects(student, 16) == expected
