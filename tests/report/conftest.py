"""Runs with checkpoints and images: tiny models that were not trained."""

import json

import cv2
import numpy as np
import pytest
import torch
from made_runs import LOSS, write_run
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from tiny import CLASSES, detector, distiller
from tiny_cls import classifier

LOOP = dict(type='EpochBasedTrainLoop', max_epochs=2)


def save(model, path, seed):
    """A checkpoint with random weights."""
    torch.manual_seed(seed)
    model = Config(dict(model=model)).model
    scope = 'mmpretrain' if 'head' in model else 'mmdet'
    with DefaultScope.overwrite_default_scope(scope):
        built = MODELS.build(model)
    for module in built.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight)
    torch.save(dict(state_dict=built.state_dict(), meta={}), path)
    return str(path)


def sensitive(width=8):
    """A detector that shows boxes without having been trained."""
    model = detector(width=width)
    model.test_cfg.rcnn.update(score_thr=0, max_per_img=5)
    return model


@pytest.fixture(scope='session')
def detectors(tmp_path_factory):
    """A folder with ``student``, ``luminet`` and ``teacher.pth``."""
    root = tmp_path_factory.mktemp('detectors')
    draw = np.random.default_rng(0)
    content = dict(
        images=[],
        annotations=[],
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES)],
    )
    for number in range(3):
        cv2.imwrite(
            str(root / f'{number}.png'),
            draw.integers(0, 255, (64, 96, 3), np.uint8),
        )
        content['images'].append(
            dict(id=number, file_name=f'{number}.png', height=64, width=96)
        )
        content['annotations'].append(
            dict(
                id=number + 1,
                image_id=number,
                category_id=number,
                bbox=[8, 8, 40, 40],
                area=1600,
                iscrowd=0,
            )
        )
    (root / 'val.json').write_text(json.dumps(content))
    settings = dict(
        default_scope='mmdet',
        train_cfg=LOOP,
        randomness=dict(seed=0),
        val_dataloader=dict(
            batch_size=2,
            dataset=dict(
                type='CocoDataset',
                data_root=str(root),
                ann_file='val.json',
                data_prefix=dict(img=''),
                metainfo=dict(classes=CLASSES),
                test_mode=True,
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='Resize', scale=(48, 32), keep_ratio=True),
                    dict(type='PackDetInputs'),
                ],
            ),
        ),
    )
    teacher = save(sensitive(12), root / 'teacher.pth', 3)
    runs = dict(
        student=sensitive(),
        luminet=distiller(
            student=sensitive(),
            teacher=sensitive(12),
            checkpoint=teacher,
            loss_luminet=dict(LOSS),
        ),
    )
    for seed, (name, model) in enumerate(runs.items()):
        folder = root / f'{name}_seed0'
        write_run(folder, dict(settings, model=model), [0.1, 0.2 + seed / 10])
        save(sensitive(), folder / 'epoch_2.pth', seed)
        (folder / 'epoch_1.pth').write_bytes(b'older')
    return root


@pytest.fixture(scope='session')
def classifiers(tmp_path_factory):
    """The same with classifiers of three classes."""
    root = tmp_path_factory.mktemp('classifiers')
    draw = np.random.default_rng(1)
    for number in range(9):
        folder = root / 'images' / 'cat dog hen'.split()[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 255, (32, 32, 3), np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), pixels)
    settings = dict(
        default_scope='mmpretrain',
        train_cfg=LOOP,
        randomness=dict(seed=0),
        val_dataloader=dict(
            batch_size=4,
            dataset=dict(
                type='CustomDataset',
                data_root=str(root / 'images'),
                data_prefix='',
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='PackInputs'),
                ],
            ),
        ),
    )
    teacher = save(classifier(width=4, num_classes=3), root / 'teacher.pth', 5)
    distilled = dict(
        classifier(num_classes=3),
        type='luminet_mm.ClassifierDistiller',
        teacher=dict(
            config=dict(model=classifier(width=4, num_classes=3)),
            checkpoint=teacher,
        ),
        distill=dict(loss_kd=dict(type='luminet_mm.KDLoss', signal='logits')),
    )
    runs = dict(student=classifier(num_classes=3), kd=distilled)
    for seed, (name, model) in enumerate(runs.items()):
        folder = root / f'{name}_seed0'
        metrics = {'accuracy/top1': 40.0 + seed}
        write_run(folder, dict(settings, model=model), [metrics] * 2)
        save(classifier(num_classes=3), folder / 'epoch_2.pth', 10 + seed)
    return root
