"""A validation split for data that have none: the same one every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from luminet_mm.recipe.dataset import VALIDATION, DataError


def validation_images(
    classes: Sequence[Sequence[Hashable]], seed: int = 0
) -> list[int]:
    """Choose images for validation, each class kept for training too.

    Args:
        classes: The classes in each image, with repetitions or without.
        seed: Of the choice.

    Returns:
        Sorted indices: a fifth of the images, fewer if a class would
        be lost to training.

    Raises:
        DataError: If there are too few images with objects.

    Examples:
        >>> validation_images([['cat'], ['dog'], ['cat'], ['dog'], ['dog']])
        [2]
    """
    found = [set(each) for each in classes]
    left = Counter(name for names in found for name in names)
    wanted = max(1, round(VALIDATION * len(found)))
    order = np.random.default_rng(seed).permutation(len(found))
    chosen: list[int] = []
    for index in order.tolist():
        if len(chosen) == wanted:
            break
        if all(left[name] > 1 for name in found[index]):
            left.subtract(found[index])
            chosen.append(index)
    if not any(found[index] for index in chosen):
        raise DataError(
            f'{len(found)} images are too few to set some aside for '
            'validation: each class needs two images with it. Add images, or '
            'a validation split of your own.'
        )
    return sorted(chosen)
