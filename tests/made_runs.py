"""Work dirs in MMEngine's formats, made without training."""

import json

from mmengine.config import Config

LOSS = dict(
    type='luminet_mm.LumiNetLoss', signal='roi.cls_score', loss_weight=1.0
)
TEACHER = dict(config='configs/teacher.py', checkpoint='teacher.pth')


def config(distill=None, epochs=2, seed=0, **model):
    """A config of a run; its model cannot be built."""
    model = dict(type='FasterRCNN', backbone=dict(depth=18), **model)
    if distill:
        model.update(
            type='luminet_mm.TwoStageDistiller',
            teacher=dict(TEACHER),
            distill=distill,
        )
    return dict(
        default_scope='mmdet',
        model=model,
        randomness=dict(seed=seed),
        train_cfg=dict(max_epochs=epochs, type='EpochBasedTrainLoop'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02)),
    )


def write_run(folder, settings, results, start='20260101_000000', extra=None):
    """Write one start of a run.

    Args:
        folder: The work dir.
        settings: The config.
        results: A dict of metrics, or one number for AP, for each epoch.
        start: Name of its log folder.
        extra: Scalars that each training line has too.
    """
    data = folder / start / 'vis_data'
    data.mkdir(parents=True)
    (data / 'config.py').write_text(Config(settings).pretty_text)
    lines = []
    for epoch, metrics in enumerate(results, 1):
        lines += [
            dict(
                lr=0.02,
                loss=2.0 / step,
                time=0.25,
                data_time=0.01,
                epoch=epoch,
                iter=step,
                step=step,
                **(extra or {}),
            )
            for step in (2 * epoch - 1, 2 * epoch)
        ]
        if not isinstance(metrics, dict):
            metrics = ap(metrics)
        lines.append(dict(metrics, data_time=0.01, time=0.1, step=epoch))
    text = '\n'.join(map(json.dumps, lines))
    (data / 'scalars.json').write_text(text + '\n')
    return folder


def ap(value):
    """COCO's metrics around an AP."""
    return {
        'coco/bbox_mAP': value,
        'coco/bbox_mAP_50': round(value + 0.2, 4),
        'coco/bbox_mAP_75': round(value - 0.1, 4),
        'coco/bbox_mAP_s': 0.05,
        'coco/bbox_mAP_m': value,
        'coco/bbox_mAP_l': -1.0,
    }


def pair(root, alone, distilled, loss=LOSS):
    """A folder of student and distilled runs, a seed for each result."""
    for name, values, block in (
        ('student', alone, None),
        ('luminet', distilled, dict(loss_luminet=dict(loss))),
    ):
        for seed, value in enumerate(values):
            write_run(
                root / f'{name}_seed{seed}',
                config(block, seed=seed),
                [value / 2, value],
            )
    return root
