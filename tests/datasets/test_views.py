"""The views of an image: which a pipeline makes, and which are refused."""

import copy
from types import SimpleNamespace

import box_caching
import numpy as np
import pytest
from box_caching import (
    BOXES_TOO,
    FLIP,
    IMAGES,
    LOAD,
    PACK,
    PIPELINE,
    RESIZE,
    built,
    data,
)
from mmdet.registry import TRANSFORMS

from luminet_mm.datasets.views import (
    FlipViews,
    ViewError,
    check_views,
    fixed_transforms,
    flip_of,
    flips_of,
    image_id,
    made_by,
    refused_transform,
    resizes_at_random,
    transforms_of,
)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return box_caching.make_photos(tmp_path_factory.mktemp('views') / 'photos')


def make(*steps):
    return [TRANSFORMS.build(copy.deepcopy(step)) for step in steps]


@pytest.mark.parametrize(
    ('options', 'flips'),
    [
        (dict(prob=0.5), ['', 'horizontal']),
        (dict(prob=1.0), ['horizontal']),
        (dict(prob=0.0), ['']),
        (
            dict(prob=0.5, direction=['horizontal', 'vertical']),
            ['', 'horizontal', 'vertical'],
        ),
        (
            dict(prob=[0.5, 0.5], direction=['diagonal', 'vertical']),
            ['diagonal', 'vertical'],
        ),
        (
            dict(prob=[0.5, 0.0], direction=['diagonal', 'vertical']),
            ['', 'diagonal'],
        ),
    ],
)
def test_the_flips_of_a_pipeline(options, flips):
    assert flips_of(make(dict(type='RandomFlip', **options))) == flips


def test_a_pipeline_without_flips_and_one_with_two():
    assert flips_of(make(RESIZE)) == ['']
    with pytest.raises(ViewError, match='RandomFlip twice'):
        flips_of(make(FLIP, FLIP))


@pytest.mark.parametrize(
    ('resize', 'largest'),
    [
        (
            dict(type='RandomChoiceResize', scales=[(96, 64), (96, 80)]),
            (96, 80),
        ),
        (dict(type='RandomResize', scale=[(133, 64), (133, 80)]), (133, 80)),
        (
            dict(type='RandomResize', scale=(100, 50), ratio_range=(0.5, 1.5)),
            (150, 75),
        ),
        (RESIZE, (96, 72)),
    ],
)
def test_a_random_resize_is_one_to_its_largest_size(resize, largest):
    steps = make(LOAD, dict(resize, keep_ratio=True), FLIP, PACK)
    load, fixed, flip, pack = fixed_transforms(steps, 'vertical')
    assert type(fixed).__name__ == 'Resize' and fixed.scale == largest
    assert (flip.prob, flip.direction) == (1.0, 'vertical')
    assert (load, pack) == (steps[0], steps[3])
    assert len(fixed_transforms(steps, '')) == 3
    assert resizes_at_random(steps) == (resize is not RESIZE)
    assert f'scale={largest}' in made_by(steps)[1] and len(made_by(steps)) == 2


def test_what_is_refused_and_what_is_not(photos):
    for name in ('Mosaic', 'YOLOXHSVRandomAug', 'MinIoURandomCrop', 'Own'):
        assert refused_transform(name).startswith(f'{name} makes views that')
        assert f'Remove {name}' in refused_transform(name)
    check_views(*built(data(photos)))
    repeated = dict(type='RepeatDataset', times=2, dataset=data(photos))
    check_views(*built(repeated))
    mixed = dict(
        type='MultiImageMixDataset', dataset=data(photos), pipeline=[]
    )
    with pytest.raises(ViewError, match='are in a MultiImageMixDataset, and'):
        check_views(*built(mixed))


@pytest.mark.parametrize(
    ('steps', 'message'),
    [
        (PIPELINE[:-1], 'does not end in PackDetInputs'),
        (
            [*PIPELINE[:-1], dict(PACK, meta_keys=('img_id', 'img_shape'))],
            'meta_keys lacks flip, flip_direction',
        ),
        (
            [LOAD, BOXES_TOO, dict(PACK, meta_keys=('img_shape',))],
            'meta_keys lacks img_id',
        ),
    ],
)
def test_samples_have_to_say_which_view_they_are(photos, steps, message):
    with pytest.raises(ViewError, match=message):
        check_views(*built(data(photos, steps)))


def test_every_image_in_every_view_and_nothing_at_random(photos):
    dataset, leaves = built(data(photos))
    views = FlipViews(leaves)
    assert views.ids == [str(10 * i) for i in range(IMAGES)]
    assert (views.flips, views.images) == (['', 'horizontal'], IMAGES)
    assert len(views) == 2 * IMAGES
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    for i in range(IMAGES):
        plain, mirrored = views[i], views[IMAGES + i]
        for item, flip in ((plain, ''), (mirrored, 'horizontal')):
            assert flip_of(item['data_samples']) == flip
            assert str(item['data_samples'].img_id) == views.ids[i]
        assert (plain['inputs'].flip(2) == mirrored['inputs']).all()
    assert np.array_equal(np.random.get_state()[1], before)
    # what the training data give is one of them
    for i in range(IMAGES):
        item = dataset[i]
        view = views.flips.index(flip_of(item['data_samples']))
        assert (views[view * IMAGES + i]['inputs'] == item['inputs']).all()


def test_repeated_data_have_each_image_once_and_two_sets_all(photos):
    _, leaves = built(
        dict(type='RepeatDataset', times=3, dataset=data(photos))
    )
    assert FlipViews(leaves).images == IMAGES
    both = [leaves[0], built(data(photos))[0]]
    with pytest.raises(ViewError, match="several images have img_id '0'"):
        FlipViews(both)
    halves = [
        built(data(photos, indices=part))[0] for part in ([0, 1, 2, 3], [4, 5])
    ]
    assert FlipViews(halves).ids == FlipViews(leaves).ids


def test_an_image_without_an_id_or_that_is_dropped(photos):
    with pytest.raises(ViewError, match='have no img_id'):
        image_id(dict(img_path='a.png'))
    steps = [
        LOAD,
        BOXES_TOO,
        dict(type='FilterAnnotations', min_gt_bbox_wh=(500, 500)),
        PACK,
    ]
    views = FlipViews(built(data(photos, steps))[1])
    with pytest.raises(ViewError, match='FilterAnnotations drops image 0'):
        views[0]
    assert transforms_of(SimpleNamespace()) == []
