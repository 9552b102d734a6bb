"""A small folder of photographs with boxes, and a detector's cached answers.

The photographs are 48 x 64 pixels or 64 x 48, and are resized to 96 x 72 or
72 x 96: a batch has padding.
"""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import tiny
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, DefaultScope
from self_loss import awake

from luminet_mm.launch.box_cache import write_boxes
from luminet_mm.preflight import leaf_datasets

IMAGES, BOXES, CLASSES = 6, 12, 4
HOOKS = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]
LUMINET = dict(type='luminet_mm.LumiNetLoss', signal='roi.cls_score')
KD = dict(type='luminet_mm.KDLoss', signal='roi.cls_score')
BOX = dict(
    type='luminet_mm.RoIBoxLoss', signal=['roi.cls_score', 'roi.bbox_pred']
)
LOAD = dict(type='LoadImageFromFile')
BOXES_TOO = dict(type='LoadAnnotations', with_bbox=True)
RESIZE = dict(type='Resize', scale=(96, 72), keep_ratio=True)
FLIP = dict(type='RandomFlip', prob=0.5)
PACK = dict(type='PackDetInputs')
PIPELINE = [LOAD, BOXES_TOO, RESIZE, FLIP, PACK]


def make_photos(root):
    """Photographs and their boxes in COCO's format."""
    root = Path(root)
    (root / 'photos').mkdir(parents=True)
    draw = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(IMAGES):
        width, height = (64, 48) if i % 3 else (48, 64)
        pixels = draw.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
        pixels = cv2.resize(pixels, (width, height))
        cv2.imwrite(str(root / 'photos' / f'{i}.png'), pixels)
        images.append(
            dict(id=10 * i, file_name=f'{i}.png', width=width, height=height)
        )
        for _ in range(2):
            x, y = draw.uniform(0, 20, 2)
            w, h = draw.uniform(12, 24, 2)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=10 * i,
                    category_id=int(draw.integers(CLASSES)),
                    bbox=[float(each) for each in (x, y, w, h)],
                    area=float(w * h),
                    iscrowd=0,
                )
            )
    categories = [dict(id=i, name=name) for i, name in enumerate(tiny.CLASSES)]
    (root / 'boxes.json').write_text(
        json.dumps(
            dict(images=images, annotations=annotations, categories=categories)
        )
    )
    return root


def data(root, pipeline=None, **kwargs):
    """Config of the data set."""
    return dict(
        type='CocoDataset',
        data_root=f'{root}/',
        ann_file='boxes.json',
        data_prefix=dict(img='photos/'),
        metainfo=dict(classes=tiny.CLASSES),
        pipeline=copy.deepcopy(pipeline or PIPELINE),
        **kwargs,
    )


def built(config):
    """A data set and those inside of it."""
    dataset = DATASETS.build(copy.deepcopy(config))
    return dataset, leaf_datasets(dataset)


def teacher_block(root, width=12, seed=3, save=True):
    """A teacher that says something else of each box, saved."""
    model = tiny.detector(width=width)
    path = Path(root) / f'teacher{width}.pth'
    block = dict(
        config=dict(model=model),
        checkpoint=str(path),
        cache=str(Path(root) / f'cache{width}'),
    )
    if not save:
        return block
    network = awake(tiny.build(copy.deepcopy(model), seed), seed)
    head = network.roi_head.bbox_head
    with torch.no_grad():
        head.fc_cls.weight.mul_(200)
        head.fc_reg.weight.mul_(200)
    torch.save(network.state_dict(), path)
    return block


def model_config(block, **distill):
    """A distilled student's block."""
    model = tiny.detector()
    model.type = 'luminet_mm.TwoStageDistiller'
    model.teacher = copy.deepcopy(block)
    model.distill = copy.deepcopy(distill or dict(loss_kd=KD))
    return Config(dict(model=model)).model


def write(block, config, boxes=BOXES, jittered=4, folder=None):
    """Write a cache with a live teacher."""
    live = {key: value for key, value in block.items() if key != 'cache'}
    runner = SimpleNamespace(
        cfg=Config(
            dict(
                model=dict(teacher=live),
                train_dataloader=dict(dataset=config),
            )
        ),
        model=tiny.build(model_config(live)),
        logger=MMLogger.get_instance('box_caching'),
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        write_boxes(runner, folder or block['cache'], 0, boxes, jittered)


def batch(dataset, order):
    """Items of a data set, collated."""
    return pseudo_collate([dataset[i] for i in order])


def ready(block, config, **distill):
    """A student with a cached teacher that was compared with its data."""
    model = tiny.build(model_config(block, **distill))
    model.teacher.check_data(*built(config))
    return model


def losses_of(model, raw, step=None):
    """Losses of a batch; ``step`` is the run's seed and the step."""
    done = model.data_preprocessor(copy.deepcopy(raw), True)
    torch.manual_seed(0)
    if step is not None:
        model.teachers.at_step(*step)
    return model.loss(done['inputs'], done['data_samples'])


def compared(model, raw, step=None):
    """What each loss was given: student, teacher, batch."""
    found = {}
    hooks = [
        loss.register_forward_pre_hook(
            lambda _, args, key=key: found.update({key: args})
        )
        for key, loss in model.distill.items()
    ]
    losses_of(model, raw, step)
    for hook in hooks:
        hook.remove()
    return found


def gradients(model, raw):
    """Each loss of a batch, and its gradient as one vector, in float64."""
    model = model.double()
    done = model.data_preprocessor(raw, True)
    for sample in done['data_samples']:
        instances = sample.gt_instances
        instances.bboxes = instances.bboxes.double()
    losses = model.loss(done['inputs'].double(), done['data_samples'])
    trained = [p for p in model.parameters() if p.requires_grad]
    found = {}
    for key in model.distill:
        parts = torch.autograd.grad(
            losses[key], trained, retain_graph=True, allow_unused=True
        )
        flat = [g.flatten() for g in parts if g is not None]
        found[key] = losses[key].detach(), torch.cat(flat)
    return found


def assert_shared(ranks, alone, rtol, bound):
    """Ranks with other images learn, together, what one process learns.

    Args:
        ranks: What :func:`gradients` found on each.
        alone: What it found of all images in one process.
        rtol: Of losses.
        bound: Of gradients, as a part of their norm.
    """
    for key, (loss, gradient) in alone.items():
        shares = torch.stack([found[key][0] for found in ranks])
        torch.testing.assert_close(shares.mean(), loss, rtol=rtol, atol=0)
        parts = torch.stack([found[key][1] for found in ranks])
        gap = (parts.mean(dim=0) - gradient).norm() / gradient.norm()
        assert gap < bound and gradient.norm() > 0, key
        apart = (parts[0] - parts[1]).norm() / gradient.norm()
        assert apart > 0.01, 'each rank has rows of its own'


def runner(photos, work_dir, model, pipeline=None, hooks=HOOKS, **kwargs):
    """A Runner on the photographs, two in a step."""
    return tiny.runner(
        model,
        work_dir,
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=data(photos, pipeline),
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        custom_hooks=copy.deepcopy(hooks),
        **kwargs,
    )


def train(*args, **kwargs):
    """Train on the photographs; the :func:`runner` that did."""
    run = runner(*args, **kwargs)
    run.train()
    return run
