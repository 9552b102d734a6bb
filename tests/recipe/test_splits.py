"""A made validation split: the same every time, no class lost."""

from collections import Counter

import pytest

from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.splits import validation_images


def test_a_fifth_and_the_same_every_time():
    classes = [['a'], ['b']] * 25
    chosen = validation_images(classes)
    assert len(chosen) == 10 and chosen == validation_images(classes)
    assert chosen != validation_images(classes, seed=1)


def test_a_rare_class_stays_in_training():
    classes = [['a'] for _ in range(30)] + [['a', 'rare']]
    for seed in range(20):
        assert 30 not in validation_images(classes, seed)


def test_an_object_counts_once_an_image():
    classes = [['a', 'a', 'a'], ['a'], ['b'], ['b']]
    chosen = validation_images(classes)
    left = Counter(
        name
        for index, names in enumerate(classes)
        if index not in chosen
        for name in set(names)
    )
    assert set(left) == {'a', 'b'}


@pytest.mark.parametrize('classes', [[], [['a']], [['a'], ['b']], [[], []]])
def test_too_few_images_are_refused(classes):
    with pytest.raises(DataError, match='too few to set some aside'):
        validation_images(classes)
