"""How large a pipeline makes images, held against its transforms."""

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS

from luminet_mm.preflight.leaves import Leaf
from luminet_mm.preflight.resizing import resizings


def leaf(*pipeline, outer=()):
    return Leaf('train', 'train', dict(pipeline=list(pipeline)), None, outer)


@pytest.mark.parametrize(
    'block',
    [
        dict(type='Resize', scale=(133, 80), keep_ratio=True),
        dict(type='mmdet.Resize', scale=(133, 80), keep_ratio=False),
        dict(type='Resize', scale=64, keep_ratio=True),
        dict(
            type='RandomChoiceResize',
            scales=[(133, 64), (133, 90)],
            keep_ratio=True,
        ),
        dict(
            type='RandomResize',
            scale=[(133, 64), (133, 90)],
            keep_ratio=True,
        ),
        dict(
            type='RandomResize',
            scale=(100, 100),
            ratio_range=(0.5, 2.0),
            keep_ratio=True,
        ),
    ],
)
def test_sizes_are_those_of_the_transforms(block):
    """Of a random one, between the first and the last."""
    load = dict(type='LoadImageFromFile')
    ways = resizings(leaf(load, block, dict(type='PackDetInputs')))
    sizes = np.array([[60.0, 45.0], [45.0, 60.0]])
    factors = np.array([way.factors(sizes) for way in ways])
    transform = TRANSFORMS.build(block)
    for index, (width, height) in enumerate(sizes.astype(int)):
        for _ in range(4):
            image = np.zeros((height, width, 3), dtype=np.uint8)
            found = transform(dict(img=image))['img_shape'][::-1]
            factor = np.array(found) / (width, height)
            low, high = (
                each(factors[:, index], axis=0) for each in (np.min, np.max)
            )
            assert (factor > low - 0.03).all()
            assert (factor < high + 0.03).all()


def test_pipelines_without_one_size():
    resize = dict(type='Resize', scale=(10, 10))
    crop = dict(type='RandomCrop', crop_size=(5, 5))
    assert len(resizings(leaf(resize, crop))) == 1
    assert resizings(leaf(crop, resize)) is None
    assert resizings(leaf(resize, outer=(dict(type='Mosaic'),))) is None
    (way,) = resizings(leaf())
    assert (way.factors(np.full((2, 2), 7.0)) == 1).all()
