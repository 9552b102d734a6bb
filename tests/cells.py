"""The cells of docs/methods.md: each method on models of each task."""

import pytest
import tiny
import tiny_cls
import tiny_dense
import tiny_detr

from luminet_mm.methods import METHODS, TASKS

CELLS = [
    pytest.param(method, task, id=f'{method.loss}-{task}')
    for method in METHODS
    for task in TASKS
    if method.use(task)
]


DETECTORS = {'detector': tiny, 'dense': tiny_dense, 'detr': tiny_detr}


def cifar(depth, width):
    """A CIFAR network of MMPretrain's form, for images of 32 x 32."""
    model = tiny_cls.classifier()
    model['backbone'] = dict(
        type='luminet_mm.CIFARResNet',
        depth=depth,
        stage_channels=(width, width, 2 * width, 4 * width),
    )
    model['head']['in_channels'] = 4 * width
    return model


def pair(method):
    """A student and a teacher, classifiers, for a method."""
    needs = ' '.join(method.needs)
    if 'transformers' in needs:
        return [
            tiny_cls.classifier('vit'),
            tiny_cls.classifier('vit', width=12),
        ]
    tokens = 'a student with tokens' in needs
    same = 'equal channels' in needs
    return [
        tiny_cls.classifier('vit') if tokens else cifar(8, 4),
        cifar(14, 4 if same else 6),
    ]


def detector_kind(method, task):
    """The detector on which a method is tried first."""
    if task == 'detector':
        return 'mask' if method.card.key == 'mask_kd' else 'faster'
    if task == 'detr':
        return 'deformable'
    bins = 'box distributions (GFL)' in method.needs
    return 'gfl' if bins else 'retinanet'


def detector_pair(method, task):
    """A student and a teacher, detectors, for a method."""
    kind = detector_kind(method, task)
    if task == 'detector':
        return [tiny.detector(kind, width=width) for width in (8, 12)]
    if task == 'detr':
        return [tiny_detr.detector(kind) for _ in range(2)]
    return [dense_detector(method, kind) for _ in range(2)]


def dense_detector(method, kind):
    """A one-stage detector; with convolutions to cut between for CrossKD."""
    detector = tiny_dense.detector(kind)
    if method.card.key == 'crosskd':
        detector.bbox_head.stacked_convs = 3
    return detector


def small(config, task):
    """The cell's config at the sizes of the tests."""
    config = dict(config)
    if 'batch_size' in config:
        config['batch_size'] = 8
    if 'num_samples' in config:
        config.update(num_samples=100, num_negatives=16)
    return config


def numbered(num_images):
    """Raw images for classifiers, with their index in the data set."""
    raw = tiny_cls.batch(num_images)
    for index, sample in enumerate(raw['data_samples']):
        sample.set_metainfo(dict(sample_idx=index))
    return raw
