"""BoxCache: views by image and flip, and data that it does not know."""

import json
import shutil
from pathlib import Path

import box_caching
import cv2
import numpy as np
import pytest
from box_caching import BOXES, CLASSES, FLIP, IMAGES, PIPELINE, built, data
from mmengine.registry import DefaultScope

from luminet_mm.datasets.views import FlipViews
from luminet_mm.teachers.box_cache import (
    BoxCache,
    box_data_part,
    make_box_header,
    missing_flips,
    notes,
)
from luminet_mm.teachers.box_layout import item_type
from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import (
    CacheError,
    create_round,
    file_shape,
)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return box_caching.make_photos(tmp_path_factory.mktemp('box') / 'photos')


@pytest.fixture(scope='module')
def block(photos):
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = box_caching.teacher_block(photos.parent)
        box_caching.write(found, data(photos))
    return found


def test_a_view_is_found_by_image_and_flip(block):
    cache = BoxCache(block['cache'])
    assert (cache.images, cache.boxes, cache.classes) == (
        IMAGES,
        BOXES,
        CLASSES + 1,
    )
    assert cache.flips == ['', 'horizontal']
    found = cache.look_up(['30', '0', '30'], ['', 'horizontal', 'horizontal'])
    assert found.scores.shape == (3, BOXES, CLASSES + 1)
    for i, (name, flip) in enumerate(
        [('30', ''), ('0', 'horizontal'), ('30', 'horizontal')]
    ):
        alone = cache.look_up([name], [flip])
        for one, all_ in zip(alone, found, strict=True):
            assert np.array_equal(one[0], all_[i])
    assert not np.array_equal(found.scores[0], found.scores[2])
    with pytest.raises(CacheError, match="does not have image '31'"):
        cache.look_up(['31'], [''])
    with pytest.raises(CacheError, match='these views: diagonal. Take Rand'):
        cache.look_up(['30'], ['diagonal'])
    assert 'views: no flip, vertical' in missing_flips('x', ['', 'vertical'])


def test_a_view_takes_as_many_bytes_as_it_was_computed(block):
    """With what NumPy and cache.json add, which large caches do not feel."""
    size = item_type(BOXES, CLASSES + 1).itemsize
    (file,) = Path(block['cache']).glob('round_*.npy')
    assert size == BOXES * (CLASSES + 1 + 20)
    assert file.stat().st_size - 2 * IMAGES * size == 128


def test_a_view_of_coco_takes_less_than_52_kb_on_disk(tmp_path):
    size = item_type(512, 81).itemsize
    header = dict(kind='boxes', boxes=512, classes=81, entries=20)
    path = tmp_path / 'round_000.npy'
    create_round(path, *file_shape(header)).flush()
    assert path.stat().st_size == 20 * size + 128
    assert path.stat().st_size / 20 <= 52_000


def test_many_views_are_in_files_of_a_thousand(block, photos, monkeypatch):
    monkeypatch.setattr('luminet_mm.teachers.box_cache.ENTRIES', 5)
    views = FlipViews(built(data(photos))[1])
    header = make_box_header(block, views, 5, BOXES, 4)
    assert (header['rounds'], header['entries']) == (3, 4)
    monkeypatch.setattr('luminet_mm.teachers.box_cache.FILES', 2)
    header = make_box_header(block, views, 5, BOXES, 4)
    assert (header['rounds'], header['entries']) == (2, 6)


def test_the_order_of_images_does_not_matter(block, photos):
    halves = [
        built(data(photos, indices=part))[0] for part in ([4, 5], [0, 1, 2, 3])
    ]
    own = BoxCache(block['cache'])
    assert own.stale_boxes(halves) == own.stale_views(halves) == []
    part = box_data_part(FlipViews(halves[:1]))
    assert part['images'] == 2
    (images, *_) = own.stale_boxes(halves[:1])
    assert 'data.' in images


def moved(root, change):
    """The folder elsewhere, with a change."""
    text = json.loads((root / 'boxes.json').read_text())
    change(text, root)
    (root / 'boxes.json').write_text(json.dumps(text))


def other_box(text, root):
    text['annotations'][3]['bbox'][0] += 1


def other_class(text, root):
    text['annotations'][0]['category_id'] ^= 1


def other_pixels(text, root):
    path = str(root / 'photos' / '0.png')
    image = cv2.imread(path)
    image[0, 0] ^= 1
    cv2.imwrite(path, image)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda *_: None, ''),
        (other_box, 'data.paths_and_boxes: '),
        (other_class, 'data.paths_and_boxes: '),
        (other_pixels, '(data.bytes.0.png|image 0 has other pixels)'),
    ],
)
def test_data_may_move_but_not_change(
    block, photos, tmp_path, change, message
):
    root = tmp_path / 'elsewhere'
    shutil.copytree(photos, root)
    moved(root, change)
    lines = BoxCache(block['cache']).stale_boxes(built(data(root))[1])
    assert bool(lines) == bool(message)
    if message:
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(lines[0])


def test_fewer_flips_are_fine_and_others_are_not(block, photos):
    cache = BoxCache(block['cache'])

    def stale(flip):
        steps = [flip if step is FLIP else step for step in PIPELINE]
        return cache.stale_views(built(data(photos, steps))[1])

    assert stale(dict(FLIP, prob=0.0)) == stale(dict(FLIP, prob=1.0)) == []
    (line,) = stale(dict(FLIP, direction=['vertical', 'horizontal']))
    assert 'does not have these views: vertical' in line


def test_a_run_is_told_that_the_teacher_saw_one_size(photos):
    resize = dict(type='RandomChoiceResize', scales=[(96, 72), (64, 48)])
    steps = [*PIPELINE[:2], resize, *PIPELINE[3:]]
    (line,) = notes(built(data(photos, steps))[1])
    assert 'saw each at the largest size alone' in line
    assert notes(built(data(photos))[1]) == []


def test_a_cache_of_another_kind_is_refused(block, tmp_path):
    with pytest.raises(CacheError, match='answers for boxes, and this model'):
        TeacherCache(block['cache'])
    folder = tmp_path / 'cache'
    shutil.copytree(block['cache'], folder)
    path = folder / 'cache.json'
    header = json.loads(path.read_text())
    path.write_text(json.dumps(dict(header, kind='soup')))
    with pytest.raises(CacheError, match='kind is not one of logits, boxes'):
        BoxCache(folder)
    path.write_text(json.dumps(dict(header, flips=3)))
    with pytest.raises(CacheError, match='flips is not a list of texts'):
        BoxCache(folder)


def test_damaged_files_are_refused(block, tmp_path):
    folder = tmp_path / 'cache'
    shutil.copytree(block['cache'], folder)
    path = folder / 'round_000.npy'
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CacheError, match='round_000.npy is damaged: its byt'):
        BoxCache(folder).look_up(['0'], [''])
    path.write_bytes(data[:-9])
    with pytest.raises(CacheError, match='round_000.npy is damaged'):
        BoxCache(folder)
