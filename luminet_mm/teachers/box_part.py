"""How many boxes a step compares, and which ones of those in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from luminet_mm.teachers.box_layout import BoxAnswers
from luminet_mm.teachers.cache_files import LOGITS, CacheError

NAME = 'boxes_per_step'


def part_problem(key: str, block: Mapping, kind: str) -> str:
    """What is wrong with the setting in a teacher's entry; '' if nothing is.

    How many boxes there are is only known to the cache, see :func:`most`.

    Args:
        key: Where the teacher stands in the config.
        block: Its entry.
        kind: What a cache of the student's family holds; '' if that is not
            known.
    """
    count = block.get(NAME)
    if count is None:
        return ''
    what = ''
    if type(count) is not int or count < 1:
        what = f'{count!r}; set a whole number of boxes from 1'
    elif kind == LOGITS:
        what = (
            f'{count}, but only two-stage detectors compare boxes; leave it '
            'out'
        )
    return what and f'{key}.boxes_per_step: {what}'


def most(key: str, count: int | None, boxes: int) -> str:
    """Why a cache cannot give so many boxes of a view; '' if it can.

    Args:
        key: Where the teacher stands in the config.
        count: Of a step; None for all.
        boxes: Of the cache.
    """
    if count is None or count <= boxes:
        return ''
    return (
        f'{key}.boxes_per_step: {count}, and the cache has {boxes} boxes of '
        f'each view. Set {boxes} or fewer, or leave it out for all'
    )


def uncounted(key: str) -> str:
    """Why no boxes can be drawn before the step is known.

    Args:
        key: Where the teacher stands in the config.
    """
    return (
        f'{key}.boxes_per_step: nothing says which step it is. '
        'TeacherCheckHook does; a loop of your own calls '
        'model.teacher.at_step(seed, step) before each step.'
    )


def draw_boxes(
    seed: int, step: int, image: str, boxes: int, count: int
) -> np.ndarray:
    """Which boxes of an image a step compares: each with the same chance.

    The draw depends on nothing but the arguments, so it is the same on any
    rank, at any place of a batch and in a resumed run. PCG64's raw numbers
    are the same in every version of NumPy.

    Args:
        seed: The run's.
        step: The number of the step.
        image: The image's id.
        boxes: How many boxes there are.
        count: How many are drawn, without putting back.

    Returns:
        ``(count,)`` their numbers, in rising order.

    Examples:
        >>> from luminet_mm.teachers.box_part import draw_boxes
        >>> first, next_ = (draw_boxes(0, step, '7', 64, 3) for step in (0, 1))
        >>> len(first), bool((first == draw_boxes(0, 0, '7', 64, 3)).all())
        (3, True)
        >>> bool((first == next_).all())
        False
    """
    keys = bits_of(seed, step, image).random_raw(boxes)
    return np.sort(np.argsort(keys, kind='stable')[:count])


def bits_of(seed: int, step: int, image: str) -> np.random.PCG64:
    """Random bits of an image in a step, the same on any rank.

    Args:
        seed: The run's.
        step: The number of the step.
        image: The image's id.
    """
    text = f'{seed}\t{step}\t{image}'.encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:16], 'little')
    return np.random.PCG64(number)


def part_of(found: BoxAnswers, chosen: Sequence[np.ndarray]) -> BoxAnswers:
    """Some boxes of each view.

    Args:
        found: ``(B, N, ...)`` what the teacher said of all.
        chosen: ``(count,)`` numbers of boxes, of each view.
    """
    which = np.stack(chosen)[..., None]
    return BoxAnswers(*(np.take_along_axis(x, which, axis=1) for x in found))


class BoxPart:
    """Takes the part of a step, once it is told which step it is.

    Args:
        key: Where the teacher stands in the config.
        count: Boxes of a view and step; None for all.
        boxes: Boxes of a view in the cache.

    Raises:
        CacheError: If the cache has fewer.
    """

    def __init__(self, key: str, count: int | None, boxes: int) -> None:
        problem = most(key, count, boxes)
        if problem:
            raise CacheError(f'{problem}.')
        self.key = key
        self.count = None if count == boxes else count
        self.boxes = boxes
        self.now: tuple[int, int] | None = None

    def __call__(self, found: BoxAnswers, ids: Sequence[str]) -> BoxAnswers:
        """The boxes of this step.

        Args:
            found: All boxes of the views of a batch.
            ids: The images'.

        Raises:
            CacheError: If it was not told the step.
        """
        if self.count is None:
            return found
        if self.now is None:
            raise CacheError(uncounted(self.key))
        return part_of(
            found,
            [
                draw_boxes(*self.now, image, self.boxes, self.count)
                for image in ids
            ],
        )
