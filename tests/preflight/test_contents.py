"""What is found in COCO files and their photos: one fault at a time."""

import json
import math
import random
from contextlib import redirect_stdout
from io import StringIO

import pytest
from coco_photos import CLASSES, check, fault
from mmdet.datasets import CocoDataset
from mmdet.utils import register_all_modules


@pytest.mark.parametrize('complete', [False, True])
@pytest.mark.parametrize('phase', ['train', 'val', 'test'])
def test_good_data_pass(photos, phase, complete):
    found = check(photos, phase, complete, evaluator=dict(type='CocoMetric'))
    assert (found.faults, found.warnings) == ([], [])


def test_images_that_are_not_taken_may_be_missing(photos):
    (photos['root'] / 'images/2.jpg').unlink()
    assert not check(photos, indices=2).faults
    assert not check(photos, indices=[1, 0]).faults
    assert '2.jpg' in fault(photos, indices=-2)


def test_mmdetection_loads_what_passes(photos):
    """Random changes: a file without faults is one that trains."""
    rng = random.Random(0)
    odd = [None, 0, -1, 1.5, 'x', [], {}, math.nan, math.inf, [1, 2], True]
    original = json.dumps({k: v for k, v in photos.items() if k != 'root'})
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
        faults = data_faults(changed, photos['root'])
        try:
            with redirect_stdout(StringIO()):
                load(photos['root'])
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
