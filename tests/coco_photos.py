"""Three photos with boxes, and what the check of the data says of them."""

import json

from mmengine.config import Config

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


def check(photos, phase='train', complete=False, evaluator=None, **kwargs):
    sections = {k: v for k, v in photos.items() if k != 'root'}
    (photos['root'] / 'boxes.json').write_text(json.dumps(sections))
    dataset = dict(
        type='CocoDataset',
        data_root=str(photos['root']),
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
