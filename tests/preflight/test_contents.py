"""What is found in COCO files and their photos: one fault at a time."""

import json
import math
import random
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.utils import register_all_modules
from mmengine.config import Config
from PIL import Image

from luminet_mm.preflight.data import data_findings

CLASSES = ('cat', 'dog')


def entry(number, **kwargs):
    box = kwargs.pop('bbox', [10, 20, 30, 40])
    return dict(
        dict(
            id=number,
            image_id=number % 3,
            category_id=number % 2 + 1,
            bbox=box,
            area=1200.0,
            iscrowd=0,
            segmentation=[[10, 20, 40, 20, 40, 60]],
        ),
        **kwargs,
    )


@pytest.fixture
def data(tmp_path):
    """Three photos of 100x80 with two boxes each."""
    (tmp_path / 'images').mkdir()
    images = []
    for number in range(3):
        name = f'{number}.jpg'
        Image.new('RGB', (100, 80)).save(tmp_path / 'images' / name)
        images.append(dict(id=number, file_name=name, width=100, height=80))
    return dict(
        root=tmp_path,
        images=images,
        annotations=[entry(number) for number in range(6)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
    )


def check(data, phase='train', complete=False, evaluator=None, **kwargs):
    sections = {k: v for k, v in data.items() if k != 'root'}
    (data['root'] / 'boxes.json').write_text(json.dumps(sections))
    dataset = dict(
        type='CocoDataset',
        data_root=str(data['root']),
        ann_file='boxes.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=CLASSES),
        pipeline=[dict(type='LoadImageFromFile')],
    )
    dataset.update(kwargs)
    cfg = {f'{phase}_dataloader': dict(dataset=dataset)}
    if evaluator:
        cfg[f'{phase}_evaluator'] = evaluator
    return data_findings(
        Config(dict(cfg, default_scope='mmdet')), (phase,), complete
    )


def fault(*args, **kwargs):
    (line,) = check(*args, **kwargs).faults
    return line


def warning(*args, **kwargs):
    found = check(*args, **kwargs)
    assert not found.faults
    (line,) = found.warnings
    return line


@pytest.mark.parametrize('complete', [False, True])
@pytest.mark.parametrize('phase', ['train', 'val', 'test'])
def test_good_data_pass(data, phase, complete):
    found = check(data, phase, complete, evaluator=dict(type='CocoMetric'))
    assert (found.faults, found.warnings) == ([], [])


def test_a_line_has_file_count_and_three_examples(data):
    for number in range(4):
        data['annotations'][number]['bbox'] = [1, 2, 0, 4]
    line = warning(data)
    assert line.startswith(
        'train_dataloader.dataset.ann_file: '
        f'{data["root"]}/boxes.json: 4 boxes of zero or negative size, such '
        'as 0.jpg (annotation 0), 1.jpg (annotation 1), 2.jpg (annotation 2);'
    )


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(bbox=[10, 20, -3, 40]), '1 box of zero or negative size, 0.jpg'),
        (dict(bbox=[10, 20, 0.5, 40]), '1 box narrower than a pixel'),
        (dict(bbox=[200, 20, 5, 40]), '1 box outside their image'),
        (dict(bbox=[60, 20, 50, 40]), '1 box over the edge of their image'),
        (dict(area=0), '1 box with an area of 0 or less'),
        (dict(image_id=77), '1 box with an image_id that no image has'),
        (dict(category_id=0), '1 box with a category_id that no category'),
    ],
)
def test_what_mmdetection_passes_over_is_a_warning(data, change, words):
    data['annotations'][0].update(change)
    line = warning(data)
    assert words in line and '(annotation 0)' in line


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(bbox=[10, 20, math.nan, 40]), '1 box with NaN or infinity'),
        (dict(bbox=[10, 20, math.inf, 40]), '1 box with NaN or infinity'),
        (dict(bbox=[10, 20, 30]), '1 without a proper annotations.bbox'),
        (dict(bbox=['a', 20, 30, 1]), '1 without a proper annotations.bbox'),
        (dict(bbox=None), '1 without a proper annotations.bbox'),
        (dict(area=None), '1 without a proper annotations.area'),
        (dict(image_id=None), '1 without a proper annotations.image_id'),
        (dict(category_id=[]), '1 without a proper annotations.category_id'),
        (dict(id=1), '1 id of annotations more than once, 1; give each'),
    ],
)
def test_what_must_fail(data, change, words):
    data['annotations'][0].update(change)
    assert words in check(data).faults[0]


def test_images_without_what_they_need(data):
    data['images'][1].pop('file_name')
    data['images'][2]['width'] = 'wide'
    faults = '\n'.join(check(data).faults)
    assert '1 without a proper images.file_name, image 1' in faults
    assert '1 without a proper images.width, image 2' in faults


def test_no_images_and_no_boxes(data):
    kept, data['annotations'] = data['annotations'], []
    assert 'none of its 0 boxes is left to train on' in fault(data)
    metric = dict(type='CocoMetric')
    line = fault(data, 'val', evaluator=metric)
    assert 'it has no box to score with' in line
    # the images of a challenge have none
    hidden = dict(metric, format_only=True)
    assert not check(data, 'test', evaluator=hidden).faults
    assert 'no image is left after filter_cfg' in fault(
        data, filter_cfg=dict(filter_empty_gt=True)
    )
    data['annotations'], data['images'] = kept, []
    assert 'there are no images in it' in fault(data)


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(bbox=[0.1, 0.2, 0.3, 0.4]), 'seems to have shares of the image'),
        (dict(iscrowd=1), 'none of its 6 boxes is left'),
        (dict(bbox=[40, 30, 90, 70]), 'seems to have x1, y1, x2, y2'),
        (dict(image_id=77), 'none of its 6 boxes is left'),
        (dict(category_id=9), 'ids are off by one'),
    ],
)
def test_all_boxes_are_wrong(data, change, words):
    for each in data['annotations']:
        each.update(change)
    found = check(data)
    assert any(words in line for line in found.faults + found.warnings)
    assert 'x2' in words or found.faults


def test_ids_and_names_twice(data):
    data['images'][1]['id'] = 0
    assert '1 id of images more than once, 0;' in fault(data)
    data['images'][1].update(id=1, file_name='0.jpg')
    assert '1 photo under several ids, 0.jpg' in warning(data)


def test_crowds_and_classes_without_boxes(data):
    data['annotations'][0]['iscrowd'] = 1
    assert '1 of 6 boxes are crowds (iscrowd), 0.jpg' in warning(data)
    for each in data['annotations']:
        each.update(iscrowd=0, category_id=2)
    assert 'to train on for 1 of 2 classes, cat' in warning(data)


def test_masks_where_they_are_needed(data):
    data['annotations'][3].pop('segmentation')
    assert not check(data).faults
    load = dict(type='LoadAnnotations', with_mask=True)
    line = fault(data, pipeline=[dict(type='LoadImageFromFile'), load])
    assert '1 box without a segmentation, 0.jpg (annotation 3)' in line
    metric = dict(type='CocoMetric', metric=['bbox', 'segm'])
    assert 'without a segmentation' in fault(data, 'val', evaluator=metric)


def test_missing_photos(data):
    folder = data['root'] / 'images'
    (folder / '1.jpg').unlink()
    line = fault(data)
    assert line.startswith('train_dataloader.dataset.data_prefix: 1 of 3')
    assert f'not in {folder}/, 1.jpg' in line
    lenient = dict(type='LoadImageFromFile', ignore_empty=True)
    assert '1 of 3 photos not in' in warning(data, pipeline=[lenient])
    # not one of those that are used
    data['annotations'] = [a for a in data['annotations'] if a['image_id'] % 2]
    data['annotations'] += [entry(7, image_id=0), entry(8, image_id=2)]
    data['annotations'] = [
        a for a in data['annotations'] if a['image_id'] != 1
    ]
    assert not check(data, filter_cfg=dict(filter_empty_gt=True)).faults
    for number in (0, 2):
        (folder / f'{number}.jpg').rename(folder / f'{number}.JPG')
    (folder / '1.JPG').touch()
    assert '0.jpg is written 0.JPG there' in fault(data)
    for each in data['images']:
        each['file_name'] = 'images/' + each['file_name']
    assert 'relative to that folder: change data_root' in fault(data)


def test_images_that_are_not_taken_may_be_missing(data):
    (data['root'] / 'images/2.jpg').unlink()
    assert not check(data, indices=2).faults
    assert not check(data, indices=[1, 0]).faults
    assert '2.jpg' in fault(data, indices=-2)


def test_an_evaluator_with_the_file_of_other_data(data):
    """It would score one photo's predictions with another one's boxes."""
    other = data['root'] / 'other.json'
    metric = dict(type='CocoMetric', ann_file=str(other))
    content = {k: v for k, v in data.items() if k != 'root'}
    other.write_text(json.dumps(content))
    assert not check(data, 'val', evaluator=metric).faults
    further = [dict(each, file_name='x.jpg') for each in data['images']]
    other.write_text(json.dumps(dict(content, images=further[:2])))
    line = fault(data, 'val', evaluator=[metric])
    assert line.startswith(f'val_evaluator.ann_file: {other} lacks 3 images')
    assert 'set it to the file of val_dataloader.dataset' in line
    order = data['categories'][::-1]
    other.write_text(json.dumps(dict(content, categories=order)))
    assert 'in another order' in fault(data, 'val', evaluator=metric)


def test_unreadable_photos(data):
    path = data['root'] / 'images/1.jpg'
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), 'uint8')
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for content, words in (
        (b'', 'the file is empty'),
        (b'<html>', 'not a photo, or damaged'),
    ):
        path.write_bytes(content)
        line = fault(data)
        assert f'1 photo cannot be read, {path} ({words})' in line
    path.write_bytes(whole[:-200])
    assert f'{path} (image file is truncated' in fault(data)


def test_sizes_of_photos(data):
    path = data['root'] / 'images/1.jpg'
    Image.new('RGB', (64, 48)).save(path)
    line = warning(data)
    assert '1 photo of another size than the annotations say' in line
    assert f'{path} (64x48, not 100x80)' in line


def test_photos_that_their_exif_data_turn(data):
    """OpenCV turns them, the tools that draw boxes often do not."""
    path = data['root'] / 'images/1.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (100, 80)).save(path, exif=exif)
    line = warning(data)
    assert f'{path} (80x100, not 100x80); their EXIF data turn them' in line
    unturned = dict(
        type='LoadImageFromFile', color_type='color_ignore_orientation'
    )
    assert not check(data, pipeline=[unturned]).warnings
    data['images'][1].update(width=80, height=100)
    assert not check(data).warnings
    assert '(100x80, not 80x100)' in warning(data, pipeline=[unturned])


def test_few_photos_are_opened_and_all_by_the_tool(data):
    for number in range(3, 100):
        name = f'{number}.jpg'
        Image.new('RGB', (100, 80)).save(data['root'] / 'images' / name)
        data['images'].append(
            dict(id=number, file_name=name, width=100, height=80)
        )
    (data['root'] / 'images/1.jpg').write_bytes(b'broken')
    assert not check(data).faults
    assert 'cannot be read' in fault(data, complete=True)


def test_only_the_first_process_of_a_machine_reads(data, monkeypatch):
    data['annotations'] = []
    assert check(data).faults
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert not check(data).faults


@pytest.mark.parametrize(
    'entries',
    [
        [dict(id=1)],
        [dict(id=[], bbox={}, area='x', image_id={}, category_id=2.5)],
        [dict(id=None, bbox=[1e400, 1, 2, 3], area=10**400, iscrowd='no')],
        [dict(id=1, bbox=[[1], 2, 3, 4], segmentation=5, ignore=[])],
    ],
)
def test_odd_entries_are_named_and_never_raise(data, entries):
    data['annotations'] = entries
    assert check(data, complete=True).faults
    data['images'] = [dict(id={}, file_name=5, width=None, height=[1])]
    assert check(data, complete=True).faults


def test_mmdetection_loads_what_passes(data):
    """Random changes: a file without faults is one that trains."""
    rng = random.Random(0)
    odd = [None, 0, -1, 1.5, 'x', [], {}, math.nan, math.inf, [1, 2], True]
    original = json.dumps({k: v for k, v in data.items() if k != 'root'})
    passed = failed = 0
    for _ in range(80):
        changed = json.loads(original)
        for _ in range(rng.randint(1, 2)):
            entry = rng.choice(
                changed[rng.choice(['images', 'annotations', 'categories'])]
            )
            key = rng.choice(list(entry))
            if rng.random() < 0.3:
                entry.pop(key)
            else:
                entry[key] = rng.choice(odd)
        faults = data_faults(changed, data['root'])
        try:
            with redirect_stdout(StringIO()):
                load(data['root'])
        except Exception as error:
            assert faults, (changed, error)
            failed += 1
        passed += not faults
    assert passed > 5 and failed > 20


def data_faults(sections, root):
    return check(dict(sections, root=root), phase='train').faults


def load(root):
    """All that training asks of a data set."""
    register_all_modules(init_default_scope=False)
    dataset = CocoDataset(
        data_root=str(root),
        ann_file='boxes.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=CLASSES),
        serialize_data=False,  # that collects garbage
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            dict(type='mmdet.Resize', scale=(50, 40)),
            dict(type='mmdet.PackDetInputs'),
        ],
    )
    for index in range(len(dataset)):
        boxes = dataset[index]['data_samples'].gt_instances.bboxes.tensor
        assert boxes.isfinite().all()
