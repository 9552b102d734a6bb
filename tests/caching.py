"""Runs that read a small teacher from a cache, and how that is written."""

import copy

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from tiny_cls import build, classifier, distiller, runner

from luminet_mm.preflight import leaf_datasets
from luminet_mm.teachers.cache_header import make_header
from luminet_mm.teachers.cache_writer import CacheWriter

IMAGES, ROUNDS, CLASSES = 12, 2, 10
DATA = dict(
    type='luminet_mm.ReplayDataset',
    rounds=ROUNDS,
    dataset=dict(
        type='luminet_mm.HandwrittenDigits',
        num_images=IMAGES,
        pipeline=[
            dict(type='RandomCrop', crop_size=8, padding=1),
            dict(type='PackInputs'),
        ],
    ),
)


KD = dict(type='luminet_mm.KDLoss', signal='logits')


HOOKS = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]


def small(width=4):
    model = classifier(num_classes=CLASSES)
    model['backbone'] = dict(
        type='luminet_mm.CIFARResNet', depth=8, stage_channels=[width] * 4
    )
    model['head']['in_channels'] = width
    return model


def dataset(**kwargs):
    return DATASETS.build({**copy.deepcopy(DATA), **kwargs})


def write(block, dtype='float32', rounds=ROUNDS, data=None, stop=None):
    """Write a cache with the teacher alone; perhaps only its first rounds."""
    data = data or dataset(rounds=rounds)
    live = {key: value for key, value in block.items() if key != 'cache'}
    header = make_header(live, data, leaf_datasets(data), CLASSES, dtype)
    with CacheWriter(block['cache'], header) as writer:
        missing = writer.missing()
        writer.begin()
        for number in missing[:stop]:
            writer.open(number)
            writer.put(np.arange(IMAGES), answers(block, data, number))
            writer.close(number)
        if stop is None:
            writer.finish()
    return missing


def answers(block, data, number):
    """What the teacher says about the views of a round."""
    model = build(small(width=8), seed=0).eval()
    model.load_state_dict(torch.load(block['checkpoint']))
    first = number * IMAGES
    items = data.__getitems__(range(first, first + IMAGES))
    batch = {key: [item[key] for item in items] for key in items[0]}
    with torch.no_grad():
        inputs = model.data_preprocessor(batch)['inputs']
        return model.head(model.extract_feat(inputs)).numpy()


def model_of(block, **distill):
    return Config(
        dict(
            model=distiller(small(), [block], **(distill or dict(loss_kd=KD)))
        )
    ).model


def train(block, work_dir, data=DATA, **kwargs):
    run = runner(
        model_of(block),
        work_dir,
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            dataset=copy.deepcopy(data),
            sampler=dict(type='luminet_mm.ReplaySampler'),
        ),
        **{**dict(max_epochs=3, custom_hooks=HOOKS), **kwargs},
    )
    run.train()
    return run.model.state_dict()


def deviation(one, other):
    assert one.keys() == other.keys()
    return max(
        (one[key].double() - other[key].double()).abs().max() for key in one
    )
