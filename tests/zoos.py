"""The stock models of both zoos: each steps, predicts, and teaches itself.

Run as a program it tries every case and prints a line for each.
"""

import gc
import re
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import mmdet
import mmpretrain
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample
from self_loss import distiller_of, gaps, self_distiller, self_losses
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.signals.families import logit_names

ROOTS = {
    each.__name__: Path(each.__file__).parent / '.mim' / 'configs'
    for each in (mmdet, mmpretrain)
}
LARGE = 140e6  # parameters; it and its teacher need 1 GB in float32
# names of small models come first
SLOW = ('101', '152', '64x4d', 'htc', 'cascade', 'swin-l', 'swin-b')
SMALL = (
    'tiny nano atto femto pico xxs xs s12 s0 b0 m0 a0 l1 1.0x small'
    ' r18 res18 34 r50 res50 -s 11 16'
).split()


class StockFails(Exception):
    """The stock model itself takes no training step here."""


def cases(package):
    """A small config of each folder of a zoo, and of each kind of RoI head.

    Of classifiers also of each kind of part.

    Returns:
        list[str]: Paths below the zoo's root.
    """
    root = ROOTS[package]
    chosen, folders, seen = [], set(), set()
    for path in sorted(root.glob('*/*.py'), key=_size_of_name):
        if path.parent.name == '_base_':
            continue
        if package == 'mmdet' and path.parent in folders:
            if 'roi_head=' not in path.read_text('utf-8'):
                continue  # parsing takes a while
        try:
            cfg = Config.fromfile(path)
        except Exception:  # some inherit what the wheel has not
            continue
        model = cfg.get('model') or {}
        if not isinstance(model, dict):  # a variable of that name
            continue
        wanted = 'type' in model
        if package == 'mmpretrain':
            wanted = model.get('type') == 'ImageClassifier'
        parts = set(_kind(model, package))
        if wanted and (path.parent not in folders or not parts <= seen):
            folders.add(path.parent)
            seen |= parts
            chosen.append(str(path.relative_to(root)))
    return sorted(chosen)


def _size_of_name(path):
    name = re.sub(r'_\d+xb\d+.*', '', path.stem)  # GPUs and what follows
    large = sum(word in name for word in SLOW)
    place = [i for i, word in enumerate(SMALL) if word in name]
    return large, min(place, default=len(SMALL)), len(name), path.name


def _kind(model, package):
    if package == 'mmpretrain':
        for key in ('type', 'backbone', 'neck', 'head'):
            yield str(_types(model.get(key)))
    elif isinstance(model.get('roi_head'), dict):
        yield str(_types(model.roi_head))
        yield str(_types(model.roi_head.get('bbox_head')))


def _types(block):
    if isinstance(block, (list, tuple)):
        return [_types(each) for each in block]
    return block.get('type') if isinstance(block, dict) else block


def plain(block):
    """A block without weights from elsewhere, checkpointing and the like."""
    if isinstance(block, dict):
        init = block.get('init_cfg')
        if 'Pretrained' in str(init) or 'checkpoint' in (init or ()):
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
    if 'init_cfg' in model:
        model.init_cfg = None
    if package == 'mmdet':
        preprocessor = model.get('data_preprocessor') or {}
        sides = [preprocessor.get('pad_size_divisor', 1), 128]
        preprocessor.pop('batch_augments', None)
        rcnn = (model.get('train_cfg') or {}).get('rcnn') or []
        for stage in rcnn if isinstance(rcnn, list) else [rcnn]:
            if 'num' in (stage.get('sampler') or {}):
                stage.sampler.num = 32
        for part, key in (('train_cfg', 'rpn_proposal'), ('test_cfg', 'rpn')):
            proposals = (model.get(part) or {}).get(key)
            if proposals and 'max_per_img' in proposals:
                proposals.max_per_img = 50
        if 'num_queries' in model:  # of fewer places than a large image has
            model.num_queries = min(model.num_queries, 100)
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
    segments = re.search(
        r'mask_|Mask|SOLO|Inst|YOLACT|[Pp]anoptic', str(model)
    )
    inputs, samples = [], []
    for width in (side, side - 32):
        shape = (side, width)
        image = torch.randint(0, 256, (3, *shape), generator=generator)
        inputs.append(image.byte())
        corner = torch.rand(3, 2, generator=generator) * side / 3
        extent = torch.rand(3, 2, generator=generator) * side / 4 + 24
        instances = InstanceData(
            bboxes=torch.cat([corner, corner + extent], 1),
            labels=torch.randint(
                0, min(classes, default=1), (3,), generator=generator
            ),
        )
        if segments:  # some heads take any further field for one of theirs
            instances.masks = BitmapMasks(
                np.ones((3, *shape), np.uint8), *shape
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
    """The largest self-loss of a stock model that steps and predicts.

    Returns:
        dict: By signal; empty if no distiller is for such models.

    Raises:
        StockFails: If the stock model does not run here.
    """
    with DefaultScope.overwrite_default_scope(package):
        model, side = model_of(package, name)
        make = detection_batch if package == 'mmdet' else image_batch
        batch = partial(make, model, side)
        if distiller_of(model) is None:
            _runs(_built(model), batch)
            return {}
        maps = 'neck' if package == 'mmdet' and model.get('neck') else ''
        maps = maps or 'backbone'
        try:
            return _measure(model, [maps], batch)
        except ValueError as error:
            if 'has a value of' in str(error):  # pairs of tokens
                return _measure(model, [], batch)
            if not re.search(MAPS_ALONE, str(error)):
                raise
            return _measure(model, [maps], batch, logits=False)


# of heads with targets of their own, and of queries
MAPS_ALONE = 'loss in a way of its own|not about the same object'


def _built(model):
    try:
        return MODELS.build(model)
    except Exception as error:
        raise StockFails(f'is not built: {line(error)}') from error


def _runs(stock, batch):
    """Let a model take a step and predict."""
    if sum(p.numel() for p in stock.parameters()) > LARGE:
        raise StockFails('too large')
    for what, training in (('takes no step', True), ('predicts not', False)):
        try:
            data = stock.data_preprocessor(batch(), training)
            inputs, samples = data['inputs'], data['data_samples']
            if training:
                losses = stock.train().loss(inputs, samples)
                stock.parse_losses(losses)[0].backward()
                stock.zero_grad()
            else:
                # mmcv's masked convolution takes one image
                detects = isinstance(samples[0], DetDataSample)
                count = 1 if detects else len(inputs)
                with torch.no_grad():
                    found = stock.eval().predict(
                        inputs[:count], samples[:count]
                    )
                assert len(found) == count
        except Exception as error:
            raise StockFails(f'{what}: {line(error)}') from error


def _measure(model, maps, batch, logits=True):
    family = distiller_of(model).family

    def losses(stock):
        _runs(stock, batch)
        names = logit_names(family, stock)[:1] if logits else []
        return gaps(*maps, *names)

    with tempfile.TemporaryDirectory() as folder:
        twins = self_distiller(model, Path(folder), losses, build=_built)
        if family.scope == 'mmdet':
            train_without_chance(twins)  # some heads have no loss in eval mode
        return self_losses(twins, batch())


def train_without_chance(model):
    """Training mode, where norms and dropout are as in eval mode."""
    for module in model.modules():
        norm = isinstance(module, _BatchNorm)
        module.training = not (norm or 'Drop' in type(module).__name__)
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def line(error):
    """What an error says, in one line."""
    text = f'{type(error).__name__}: {error}'
    return ' '.join(text.split())[:300]


def main():
    import logging

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    package, *names = sys.argv[1:]
    for name in names or cases(package):
        if name:
            begun = time.monotonic()
            try:
                found = gap(package, name)
                worst = max(found.values(), default=0.0)
                said = 'ok' if worst < 1e-3 else 'GAP'
                said += '' if found else ' alone'
                said += f' {worst:.1e} {found if worst > 1e-3 else ""}'
            except StockFails as error:
                said = f'stock {error}'
            except Exception as error:
                said = f'FAILS {line(error)}'
            spent = time.monotonic() - begun
            print(f'{package} {name}: {said} {spent:.1f} s', flush=True)
            gc.collect()


if __name__ == '__main__':
    import luminet_mm  # noqa: F401

    main()
