"""FlipViews: an image's fixed views, those that a box cache has.

A detector's images are mostly resized and flipped. Resizing a whole image
moves its boxes and no more, so an image has as many views as there are flips.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import Dataset

from luminet_mm.rng import kept_rng

NO_FLIP = ''
LOADS = ('LoadImageFromFile', 'LoadImageFromNDArray')
QUIET = ('LoadAnnotations', 'FilterAnnotations')
"""Transforms that leave the pixels as they are."""
PACK = 'PackDetInputs'
RANDOM_RESIZES = ('RandomChoiceResize', 'RandomResize')
RESIZES = ('Resize', *RANDOM_RESIZES)
FLIP = 'RandomFlip'
ALLOWED = (*LOADS, *QUIET, *RESIZES, FLIP, PACK)
NEEDED = ('img_id', 'img_shape', 'flip', 'flip_direction')
"""What a sample has to say of itself."""
WRAPPERS = ('RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset')


class ViewError(ValueError):
    """A pipeline makes views that cannot be told from each other."""


def refused_transform(name: str) -> str:
    """Say why a transform's views are in no box cache, and what to do.

    Args:
        name: Its type; empty text is returned for one that is allowed.

    Examples:
        >>> from luminet_mm.datasets.views import refused_transform
        >>> refused_transform('RandomFlip')
        ''
        >>> print(refused_transform('PhotoMetricDistortion').split('. ')[0])
        PhotoMetricDistortion makes views that a box cache does not have
    """
    if name in ALLOWED:
        return ''
    fix = f'Remove {name}'
    if name == 'Pad':
        fix += ', whose work the data preprocessor does (pad_size_divisor)'
    return (
        f'{name} makes views that a box cache does not have. It has whole '
        f'images, resized and flipped. {fix}, or remove `cache`: the teacher '
        'then runs in each step'
    )


def transforms_of(leaf: Any) -> list:
    """The transforms of a data set's pipeline."""
    return list(getattr(getattr(leaf, 'pipeline', None), 'transforms', ()))


def check_views(dataset: Any, leaves: Sequence) -> None:
    """Refuse data whose views are not resized and flipped images alone.

    Args:
        dataset: The training data, built.
        leaves: The data sets inside it, without wrappers.

    Raises:
        ViewError: Names the transform, or the wrapper.
    """
    for wrapper in _wrappers(dataset):
        name = type(wrapper).__name__
        if name not in WRAPPERS:
            raise ViewError(
                f'the training data are in a {name}, and a box cache is for '
                'images as they are loaded. Take the data set inside it, or '
                f'one of {", ".join(WRAPPERS)}'
            )
    for leaf in leaves:
        transforms = transforms_of(leaf)
        names = [type(each).__name__ for each in transforms]
        for name in names:
            if refused_transform(name):
                raise ViewError(refused_transform(name))
        _check_packed(transforms, FLIP in names)


def _check_packed(transforms: Sequence, flips: bool) -> None:
    """Refuse a pipeline whose samples do not say which view they are."""
    last = transforms[-1] if transforms else None
    keys = getattr(last, 'meta_keys', None)
    if type(last).__name__ != PACK or keys is None:
        raise ViewError(
            f'the pipeline does not end in {PACK}, so its samples do not '
            'say which view they are. Put it at the end'
        )
    needed = NEEDED if flips else NEEDED[:2]
    lacking = [key for key in needed if key not in keys]
    if lacking:
        raise ViewError(
            f'{PACK}.meta_keys lacks {", ".join(lacking)}, by which a box '
            'cache finds the view of an image. Add them'
        )


def _wrappers(dataset: Any) -> Iterator[Any]:
    inner = [
        *getattr(dataset, 'datasets', ()),
        *([dataset.dataset] if hasattr(dataset, 'dataset') else ()),
    ]
    if inner:
        yield dataset
    for each in inner:
        yield from _wrappers(each)


def flips_of(transforms: Sequence) -> list[str]:
    """The flips that a pipeline makes; :data:`NO_FLIP` for none.

    Args:
        transforms: Of a pipeline, built.

    Raises:
        ViewError: If it flips twice.
    """
    found = [each for each in transforms if type(each).__name__ == FLIP]
    if len(found) > 1:
        raise ViewError(f'the pipeline has {FLIP} twice. Leave one')
    if not found:
        return [NO_FLIP]
    (flip,) = found
    many = isinstance(flip.direction, (list, tuple))
    directions = list(flip.direction) if many else [flip.direction]
    total: float = flip.prob if isinstance(flip.prob, float) else 0.0
    if isinstance(flip.prob, (list, tuple)):
        pairs = zip(directions, flip.prob, strict=True)
        directions = [name for name, share in pairs if share > 0]
        total = sum(flip.prob)
    if total <= 0:
        return [NO_FLIP]
    return [NO_FLIP] * (total < 1) + directions


def resizes_at_random(transforms: Sequence) -> bool:
    """Whether an image has another size each time."""
    return any(type(each).__name__ in RANDOM_RESIZES for each in transforms)


def fixed_transforms(transforms: Sequence, flip: str) -> list:
    """A pipeline's transforms without what is random in them.

    Args:
        transforms: Of a pipeline, built; they are not changed. A random
            resize becomes one to its largest size.
        flip: The flip to make.
    """
    fixed = []
    for each in transforms:
        name = type(each).__name__
        if name in RANDOM_RESIZES:
            resize = copy.deepcopy(each.resize)
            resize.scale = _largest(each)
            fixed.append(resize)
        elif name == FLIP:
            if flip:
                fixed.append(type(each)(prob=1.0, direction=flip))
        else:
            fixed.append(each)
    return fixed


def _largest(resize: Any) -> Any:
    """The largest size that a random resize chooses."""
    if type(resize).__name__ == 'RandomChoiceResize':
        return max(resize.scales, key=_area)
    scale = resize.scale
    if isinstance(scale, list):
        return max(max(each) for each in scale), max(map(min, scale))
    most = max(resize.ratio_range or (1.0,))
    return tuple(int(side * most) for side in scale)


def _area(scale: Any) -> float:
    return scale**2 if isinstance(scale, int) else scale[0] * scale[1]


def made_by(transforms: Sequence) -> list[str]:
    """What makes the pixels of a view, flips aside, in words."""
    return [
        repr(each)
        for each in fixed_transforms(transforms, NO_FLIP)
        if type(each).__name__ not in (*QUIET, PACK)
    ]


class FlipViews(Dataset):
    """Each image of some data sets in each of its views, nothing at random.

    Item ``view * images + i`` is image i with flip ``flips[view]``.

    Args:
        leaves: Data sets without wrappers, built.

    Attributes:
        ids: The id of each image, as text.
        flips: The flips that any of the pipelines makes.

    Raises:
        ViewError: If two images have one id, or an image has none.
    """

    def __init__(self, leaves: Sequence) -> None:
        self.leaves = list(dict.fromkeys(leaves))
        self.places = [
            (number, index)
            for number, leaf in enumerate(self.leaves)
            for index in range(len(leaf))
        ]
        self.ids = [image_id(self.info(i)) for i in range(len(self.places))]
        if len(set(self.ids)) < len(self.ids):
            twice = next(x for x in self.ids if self.ids.count(x) > 1)
            raise ViewError(
                f'several images have img_id {twice!r}, so a batch does not '
                'say which one it has. Give each its own'
            )
        flips = [flips_of(transforms_of(leaf)) for leaf in self.leaves]
        self.flips = list(dict.fromkeys(sum(flips, [])))
        self._fixed = [
            [fixed_transforms(transforms_of(x), flip) for x in self.leaves]
            for flip in self.flips
        ]

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.places)

    def info(self, index: int) -> dict:
        """An image's annotations."""
        number, inner = self.places[index]
        return self.leaves[number].get_data_info(inner)

    def __len__(self) -> int:
        return len(self.places) * len(self.flips)

    def __getitem__(self, item: int) -> dict[str, Any]:
        view, index = divmod(item, len(self.places))
        results: Any = self.info(index)
        for transform in self._fixed[view][self.places[index][0]]:
            with kept_rng():  # RandomFlip draws, even where it always flips
                results = transform(results)
            if results is None:
                raise ViewError(
                    f'{type(transform).__name__} drops image '
                    f'{self.ids[index]}. Remove it, or set keep_empty=False '
                    'in it'
                )
        return results


def image_id(info: Any) -> str:
    """The id by which an image is known, as text.

    Raises:
        ViewError: If it has none.
    """
    if info.get('img_id') is None:
        raise ViewError(
            'the images of the training data have no img_id, by which a box '
            'cache knows them. Data sets in the format of COCO or VOC have'
        )
    return str(info['img_id'])


def flip_of(sample: Any) -> str:
    """The flip of a data sample."""
    return sample.flip_direction if sample.get('flip') else NO_FLIP
