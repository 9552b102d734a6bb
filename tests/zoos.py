"""The stock models of both zoos, each with a teacher that is itself.

Run as a program it tries every case and prints a line for each.
"""

import gc
import re
import sys
import tempfile
from functools import partial
from pathlib import Path

import mmdet
import mmpretrain
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample
from self_loss import gaps, self_distiller, self_losses

ROOTS = {
    each.__name__: Path(each.__file__).parent / '.mim' / 'configs'
    for each in (mmdet, mmpretrain)
}
LARGE = 140e6  # parameters; it and its teacher need 1 GB in float32
# names of small models come first
SMALL = (
    'tiny nano atto femto pico xxs xs s12 s0 b0 m0 a0 l1 1.0x small'
    ' r18 res18 34 r50 res50 -s 11 16'
).split()


class StockFails(Exception):
    """The stock model itself takes no training step here."""


def cases(package):
    """A small config of each folder of a zoo, and of each kind of part.

    Returns:
        list[str]: Paths below the zoo's root.
    """
    root = ROOTS[package]
    chosen, folders, seen = [], set(), set()
    for path in sorted(root.glob('*/*.py'), key=_size_of_name):
        if path.parent.name == '_base_':
            continue
        try:
            cfg = Config.fromfile(path)
        except Exception:  # some inherit what the wheel has not
            continue
        model = cfg.get('model') or {}
        wanted = (
            {'roi_head', 'rpn_head'} <= set(model)
            if package == 'mmdet'
            else model.get('type') == 'ImageClassifier'
        )
        parts = set(_kind(model))
        if wanted and (path.parent not in folders or not parts <= seen):
            folders.add(path.parent)
            seen |= parts
            chosen.append(str(path.relative_to(root)))
    return sorted(chosen)


def _size_of_name(path):
    name = path.name
    place = [i for i, word in enumerate(SMALL) if word in name]
    return min(place, default=len(SMALL)), len(name), name


def _kind(model):
    for key in ('type', 'backbone', 'neck', 'roi_head', 'head'):
        yield str(_types(model.get(key)))
    if 'roi_head' in model:
        yield str(_types(model.roi_head.get('bbox_head')))


def _types(block):
    if isinstance(block, (list, tuple)):
        return [_types(each) for each in block]
    return block.get('type') if isinstance(block, dict) else block


def plain(block):
    """A block without weights from elsewhere, checkpointing and the like."""
    if isinstance(block, dict):
        if 'Pretrained' in str(block.get('init_cfg')):
            block['init_cfg'] = None
        if isinstance(block.get('pretrained'), str):
            block['pretrained'] = None
        if block.get('type') == 'Pretrained':
            return None
        if block.get('with_cp'):
            block['with_cp'] = False
        for key in list(block):
            block[key] = plain(block[key])
    elif isinstance(block, (list, tuple)):
        return type(block)(plain(each) for each in block)
    return block


def model_of(package, name):
    """The stock model's block, and the side of its images."""
    cfg = Config.fromfile(ROOTS[package] / name)
    model = plain(cfg.model)
    model['init_cfg'] = None
    if package == 'mmdet':
        sides = [model.data_preprocessor.get('pad_size_divisor', 1), 128]
        model.data_preprocessor.pop('batch_augments', None)
        rcnn = model.get('train_cfg', {}).get('rcnn') or []
        for stage in rcnn if isinstance(rcnn, list) else [rcnn]:
            if 'num' in (stage.get('sampler') or {}):
                stage.sampler.num = 32
        return model, max(sides)
    preprocessor = dict(cfg.get('data_preprocessor') or {})
    model.data_preprocessor = preprocessor
    (model.get('train_cfg') or {}).pop('augments', None)
    text = str(cfg.get('test_dataloader') or cfg.get('train_dataloader'))
    side = re.findall(r"'crop_size': \(?(\d+)", text)
    side = side or re.findall(r"'scale': \(?(\d+)", text)
    return model, int(side[0]) if side else 224


def detection_batch(model, side):
    """Two raw images with boxes, masks and a map of stuff."""
    generator = torch.Generator().manual_seed(0)
    classes = [
        int(each) for each in re.findall(r"'num_classes': (\d+)", str(model))
    ]
    inputs, samples = [], []
    for width in (side, side - 32):
        shape = (side, width)
        image = torch.randint(0, 256, (3, *shape), generator=generator)
        inputs.append(image.byte())
        corner = torch.rand(3, 2, generator=generator) * side / 3
        extent = torch.rand(3, 2, generator=generator) * side / 4 + 24
        instances = InstanceData(
            bboxes=torch.cat([corner, corner + extent], 1),
            labels=torch.randint(0, min(classes), (3,), generator=generator),
            masks=BitmapMasks(np.ones((3, *shape), np.uint8), *shape),
        )
        sample = DetDataSample(
            gt_instances=instances,
            ignored_instances=InstanceData(
                bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
            ),
            gt_sem_seg=PixelData(sem_seg=torch.zeros(1, *shape).long()),
            metainfo=dict(
                img_shape=shape,
                ori_shape=shape,
                pad_shape=shape,
                scale_factor=(1.0, 1.0),
                img_id=0,
            ),
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def image_batch(model, side):
    """Two raw images with labels."""
    channels = 1 if model.backbone.type == 'LeNet5' else 3
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randint(0, 256, (channels, side, side), generator=generator)
        for _ in range(2)
    ]
    samples = []
    for index in range(2):
        sample = DataSample(metainfo=dict(img_shape=(side, side)))
        samples.append(sample.set_gt_label(index))
    return dict(inputs=[each.byte() for each in inputs], data_samples=samples)


def gap(package, name):
    """The largest self-loss of a stock model.

    Returns:
        dict: By signal.

    Raises:
        StockFails: If the stock model does not run here.
    """
    with DefaultScope.overwrite_default_scope(package):
        model, side = model_of(package, name)
        if package == 'mmpretrain':
            signals = ['logits', 'backbone']
            batch = partial(image_batch, model, side)
        else:
            heads = model.roi_head.get('bbox_head')
            cascade = isinstance(heads, list) or 'Cascade' in str(
                _types(model.roi_head)
            )
            signals = ['neck'] if model.get('neck') else ['backbone']
            signals += ['roi.0.cls_score' if cascade else 'roi.cls_score']
            batch = partial(detection_batch, model, side)
        try:
            return _measure(model, signals, batch)
        except ValueError as error:
            if 'has a value of' not in str(error):
                raise
            return _measure(model, signals[:1], batch)  # pairs of tokens


def _measure(model, signals, batch):
    built = False

    def step(stock):
        nonlocal built
        built = True
        if sum(p.numel() for p in stock.parameters()) > LARGE:
            raise StockFails('too large')
        try:
            data = stock.data_preprocessor(batch(), True)
            stock.eval().loss(data['inputs'], data['data_samples'])
        except Exception as error:
            raise StockFails(f'takes no step: {_line(error)}') from error

    with tempfile.TemporaryDirectory() as folder:
        try:
            twins = self_distiller(model, Path(folder), gaps(*signals), step)
        except Exception as error:
            if built:
                raise
            raise StockFails(f'is not built: {_line(error)}') from error
        return self_losses(twins, batch())


def _line(error):
    text = f'{type(error).__name__}: {error}'
    return ' '.join(text.split())[:300]


def main():
    import logging

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    package, *names = sys.argv[1:]
    for name in names or cases(package):
        if name:
            try:
                found = gap(package, name)
                worst = max(found.values())
                line = 'ok' if worst < 1e-3 else 'GAP'
                line += f' {worst:.1e} {found if worst > 1e-3 else ""}'
            except StockFails as error:
                line = f'stock {error}'
            except Exception as error:
                line = f'FAILS {_line(error)}'
            print(f'{package} {name}: {line}', flush=True)
            gc.collect()


if __name__ == '__main__':
    import luminet_mm  # noqa: F401

    main()
