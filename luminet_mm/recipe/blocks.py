"""Blocks that all written configs share: data, evaluators, schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from luminet_mm.recipe.config_text import Code
from luminet_mm.recipe.dataset import Data
from luminet_mm.recipe.paths import ann_file, photos

KEPT = 2
"""Checkpoints that a run keeps: the last may be damaged."""


def workers() -> int:
    """Loader processes: none on a CPU, where they would cost more."""
    return 4 if torch.cuda.is_available() else 0


def coco_settings(
    data: Data, folder: Path, scale: tuple[int, int], batch: int, flip: bool
) -> dict[str, Any]:
    """Data, pipelines and evaluators of a small detector.

    Args:
        data: The data.
        folder: Of the configs.
        scale: Width and height of images.
        batch: Images per step.
        flip: Whether half of the training images are mirrored.
    """
    load: list = [dict(type='LoadImageFromFile')]
    boxes = dict(type='LoadAnnotations', with_bbox=True)
    resize = dict(type='Resize', scale=Code('image_size'), keep_ratio=True)
    train = [*load, boxes, resize]
    if flip:
        train.append(dict(type='RandomFlip', prob=0.5))
    meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    return dict(
        data_root=f'{data.root.as_posix()}/',
        metainfo=dict(classes=data.classes),
        image_size=scale,
        train_pipeline=[*train, dict(type='PackDetInputs')],
        test_pipeline=[
            *load,
            resize,
            boxes,
            dict(type='PackDetInputs', meta_keys=meta),
        ],
        train_dataloader=_loader(_coco(data, 'train', folder), batch, True),
        val_dataloader=_loader(_coco(data, 'val', folder), 2 * batch, False),
        test_dataloader=Code('val_dataloader'),
        val_evaluator=dict(
            type='FasterCocoMetric',
            ann_file=ann_file(data, data.val, folder, True),
            metric='bbox',
        ),
        test_evaluator=Code('val_evaluator'),
    )


def folder_settings(
    data: Data, folder: Path, side: int, batch: int, flip: bool
) -> dict[str, Any]:
    """Data, pipelines and evaluators of a small classifier.

    Args:
        data: The data.
        folder: Of the configs.
        side: Of the images.
        batch: Images per step.
        flip: Whether half of the training images are mirrored.
    """
    train: list = [
        dict(type='LoadImageFromFile'),
        dict(
            type='RandomResizedCrop',
            scale=Code('image_size'),
            crop_ratio_range=(0.5, 1.0),
        ),
    ]
    if flip:
        train.append(dict(type='RandomFlip', prob=0.5, direction='horizontal'))
    return dict(
        data_root=f'{data.root.as_posix()}/',
        classes=list(data.classes),
        image_size=side,
        train_pipeline=[*train, dict(type='PackInputs')],
        test_pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='ResizeEdge', scale=Code('image_size'), edge='short'),
            dict(type='CenterCrop', crop_size=Code('image_size')),
            dict(type='PackInputs'),
        ],
        train_dataloader=_loader(_folder(data, 'train', folder), batch, True),
        val_dataloader=_loader(_folder(data, 'val', folder), batch, False),
        test_dataloader=Code('val_dataloader'),
        val_evaluator=dict(type='Accuracy', topk=1),
        test_evaluator=Code('val_evaluator'),
    )


def _loader(dataset: dict, batch: int, shuffle: bool) -> dict[str, Any]:
    processes = workers()
    return dict(
        batch_size=batch,
        num_workers=processes,
        **(dict(persistent_workers=True) if processes else {}),
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
        dataset=dataset,
    )


def _coco(data: Data, name: str, folder: Path) -> dict[str, Any]:
    split = data.train if name == 'train' else data.val
    return dict(
        type='CocoDataset',
        metainfo=Code('metainfo'),
        data_root=Code('data_root'),
        ann_file=ann_file(data, split, folder, False),
        data_prefix=dict(img=photos(data, split)),
        **({} if name == 'train' else dict(test_mode=True)),
        pipeline=Code(
            'train_pipeline' if name == 'train' else 'test_pipeline'
        ),
    )


def _folder(data: Data, name: str, folder: Path) -> dict[str, Any]:
    split = data.train if name == 'train' else data.val
    return dict(
        type='CustomDataset',
        data_root=Code('data_root'),
        ann_file=ann_file(data, split, folder, False),
        data_prefix=photos(data, split),
        classes=Code('classes'),
        pipeline=Code(
            'train_pipeline' if name == 'train' else 'test_pipeline'
        ),
    )


def schedule_settings(
    epochs: int, steps: int, least: float, delete: bool = False
) -> dict[str, Any]:
    """A warm-up, then one cosine to the last epoch, which counts.

    Args:
        epochs: Of the run.
        steps: Of an epoch.
        least: The last learning rate.
        delete: Whether a base has a loop of another kind.
    """
    warmup = max(1, min(500, epochs * steps // 10, 30 if steps < 200 else 500))
    return dict(
        max_epochs=epochs,
        train_cfg=dict(
            **(dict(_delete_=True) if delete else {}),
            type='EpochBasedTrainLoop',
            max_epochs=Code('max_epochs'),
            val_interval=max(1, epochs // 4),
        ),
        param_scheduler=[
            dict(
                type='LinearLR',
                start_factor=0.1,
                by_epoch=False,
                begin=0,
                end=warmup,
            ),
            dict(
                type='CosineAnnealingLR',
                T_max=Code('max_epochs'),
                eta_min=least,
                convert_to_iter_based=True,
            ),
        ],
    )


def loops() -> dict[str, Any]:
    """Validation and test loops."""
    return dict(val_cfg=dict(type='ValLoop'), test_cfg=dict(type='TestLoop'))


def hook_settings(steps: int) -> dict[str, Any]:
    """Logs and checkpoints.

    Args:
        steps: Of an epoch.
    """
    return dict(
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=max(1, min(25, steps))),
            checkpoint=dict(
                type='CheckpointHook',
                interval=1,
                by_epoch=True,
                max_keep_ckpts=KEPT,
            ),
        )
    )
