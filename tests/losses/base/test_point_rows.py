"""Which points count, and moments over levels."""

import torch

from luminet_mm.distributed import global_moments
from luminet_mm.losses import Points
from luminet_mm.losses.base.point_rows import level_moments, pick_points


def points(**changes):
    values = dict(
        labels=[torch.tensor([0, 3, -1, 2]), torch.tensor([1, 3])],
        weights=[torch.tensor([1.0, 1, 1, 0]), torch.tensor([0.5, 1])],
        num_pos=torch.tensor(1.0),
        decode=lambda level, rows: rows,
    )
    return Points(**{**values, **changes})


SCORES = [torch.tensor([1.0, 5, 2, 9]), torch.tensor([4.0, 3])]
TEACHER = [score[:, None] - torch.arange(3.0) for score in SCORES]


def test_all_points_keep_their_weights():
    one, two = pick_points(points(), TEACHER, 'all')
    assert one.places is None and one.of(TEACHER[0]) is TEACHER[0]
    assert torch.equal(two.weights, torch.tensor([0.5, 1]))


def test_foreground_has_a_label_and_a_weight():
    one, two = pick_points(points(), TEACHER, 'foreground')
    assert one.places.tolist() == [0] and two.places.tolist() == [0]
    assert two.weights.tolist() == [0.5]
    assert torch.equal(one.of(TEACHER[0]), TEACHER[0][:1])


def test_the_highest_of_all_levels_that_count():
    one, two = pick_points(points(), TEACHER, 'top_k', top_k=3)
    assert one.places.tolist() == [1] and two.places.tolist() == [0, 1]
    # more than there are: those with a weight
    one, two = pick_points(points(), TEACHER, 'top_k', top_k=99)
    assert one.places.tolist() == [0, 1, 2] and len(two.places) == 2


def test_the_highest_of_each_image():
    one, two = pick_points(points(images=2), TEACHER, 'top_k', top_k=1)
    assert one.places.tolist() == [1] and two.places.tolist() == [1]


def test_moments_over_levels_are_those_of_all_rows():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 9, 3, generator=generator).double() + 5
    weights = torch.rand(9, generator=generator).double()
    parts = [slice(0, 4), slice(4, 4), slice(4, 9)]
    total = torch.tensor(2.0).double()
    found = level_moments(
        [[x[p], y[p]] for p in parts],
        [weights[p] for p in parts],
        total,
        sync=False,
    )
    both = torch.cat([x, y], dim=1)
    expected = global_moments(both, both, total, weights)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)
