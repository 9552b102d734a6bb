"""A COCO folder of four images, a config for it, and the tools as modules."""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from quick import forget_runs
from tiny import CLASSES, detector, distiller

from luminet_mm.loading.strict import strict_loading

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture
def load_tool():
    """Return a function that imports a tool by its name."""

    def load(name):
        spec = importlib.util.spec_from_file_location(
            f'tool_{name}', TOOLS / f'{name}.py'
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run_tool(load_tool, monkeypatch):
    """Return a function that runs a tool in this process, as a command."""
    monkeypatch.delenv('LOCAL_RANK', raising=False)

    def run(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        forget_runs()
        # undone afterwards: what a tool changes for its process
        with strict_loading():
            load_tool(name).main()

    return run


@pytest.fixture
def coco(tmp_path):
    """A folder `coco` with train2017, val2017 and annotations."""
    root = tmp_path / 'coco'
    draw = np.random.default_rng(0)
    for split in ('train', 'val'):
        (root / f'{split}2017').mkdir(parents=True)
        (root / 'annotations').mkdir(exist_ok=True)
        images, annotations = [], []
        for number in range(4):
            name = f'{number:012d}.jpg'
            pixels = draw.integers(0, 255, (64, 64, 3), np.uint8)
            cv2.imwrite(str(root / f'{split}2017' / name), pixels)
            images.append(dict(id=number, file_name=name, height=64, width=64))
            annotations.append(
                dict(
                    id=number + 1,
                    image_id=number,
                    category_id=number + 1,
                    bbox=[8, 8, 24, 24],
                    area=576,
                    iscrowd=0,
                )
            )
        write_annotations(root, split, images, annotations)
    return root


def write_annotations(root, split, images, annotations, names=CLASSES):
    """Write a file with the keys in the order of COCO's own."""
    content = dict(
        info={},
        licenses=[],
        images=images,
        annotations=annotations,
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(names)],
    )
    path = root / 'annotations' / f'instances_{split}2017.json'
    path.write_text(json.dumps(content))


def tuned(model):
    """Let a model of a few steps detect something."""
    model.test_cfg.rcnn.score_thr = 0
    return model


@pytest.fixture
def config(coco, tmp_path):
    """A whole config: a tiny Faster R-CNN on the COCO folder."""
    load = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(type='PackDetInputs'),
    ]

    def loader(split, shuffle):
        return dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=shuffle),
            dataset=dict(
                type='CocoDataset',
                data_root=str(coco),
                ann_file=f'annotations/instances_{split}2017.json',
                data_prefix=dict(img=f'{split}2017/'),
                metainfo=dict(classes=CLASSES),
                test_mode=not shuffle,
                pipeline=load,
            ),
        )

    evaluator = dict(
        type='CocoMetric',
        ann_file=str(coco / 'annotations' / 'instances_val2017.json'),
        metric='bbox',
    )
    return Config(
        dict(
            model=tuned(detector()),
            default_scope='mmdet',
            train_dataloader=loader('train', True),
            val_dataloader=loader('val', False),
            test_dataloader=loader('val', False),
            val_evaluator=evaluator,
            test_evaluator=evaluator,
            train_cfg=dict(
                type='EpochBasedTrainLoop', max_epochs=1, val_interval=1
            ),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
            ),
            auto_scale_lr=dict(enable=False, base_batch_size=8),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=1),
                logger=dict(type='LoggerHook', interval=1),
                visualization=dict(type='DetVisualizationHook'),
            ),
            visualizer=dict(
                type='DetLocalVisualizer',
                vis_backends=[dict(type='LocalVisBackend')],
            ),
            randomness=dict(seed=0),
            work_dir=str(tmp_path / 'work'),
        )
    )


@pytest.fixture
def distilled(config):
    """The same, with a distiller whose teacher has random weights."""
    config.model = tuned(distiller())
    return config


@pytest.fixture
def dump(tmp_path):
    """Return a function that writes a config and names the file."""

    def write(config, name='toy.py'):
        config.dump(tmp_path / name)
        return tmp_path / name

    return write
