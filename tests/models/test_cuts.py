"""Networks run in parts give what they give in whole."""

import pytest
import tiny
import tiny_cls
import torch
from mmengine.registry import DefaultScope

from luminet_mm.models.cuts import RoIHead, Stages
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.roi_scoring import (
    compute_signals as compute_of_detector,
)
from luminet_mm.signals.two_stage import TwoStage

AFTER = [f'backbone.layer{i}' for i in range(1, 5)]
BEFORE = [f'{name}.preact' for name in AFTER]
# A backbone, its channels, and where FCFD cuts it.
NETWORKS = {
    'resnet': (
        dict(type='luminet_mm.CIFARResNet', depth=8),
        64,
        AFTER[:3],
    ),
    'resnet_before_relu': (
        dict(type='luminet_mm.CIFARResNet', depth=14),
        64,
        BEFORE[:3],
    ),
    'wrn': (
        dict(type='luminet_mm.CIFARWideResNet', depth=16, widen_factor=1),
        64,
        [*AFTER[:2], BEFORE[2]],
    ),
    'vgg': (dict(type='luminet_mm.CIFARVGG', depth=8), 512, BEFORE),
    'mobilenetv2': (
        dict(type='luminet_mm.CIFARMobileNetV2'),
        1280,
        [*AFTER[:3], 'backbone.conv2.1'],
    ),
    'shufflenetv1': (
        dict(type='luminet_mm.CIFARShuffleNetV1'),
        960,
        BEFORE[:3],
    ),
    'shufflenetv2': (
        dict(type='luminet_mm.CIFARShuffleNetV2'),
        1024,
        [*AFTER[:2], 'backbone.conv2'],
    ),
    'mobilenetv1': (dict(type='luminet_mm.MobileNetV1'), 1024, AFTER),
    'resnet_cifar': (
        dict(type='mmpretrain.ResNet_CIFAR', depth=18, base_channels=8),
        64,
        AFTER,
    ),
    'resnet_imagenet': (
        dict(
            type='mmpretrain.ResNet',
            depth=18,
            base_channels=8,
            stem_channels=8,
            out_indices=(1, 2),
        ),
        32,
        AFTER[:3],
    ),
}
NETWORKS['resnet_cifar'][0]['stem_channels'] = 8


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def classifier(backbone, channels):
    model = tiny_cls.classifier()
    model['backbone'] = backbone
    model['head']['in_channels'] = channels
    return tiny_cls.build(model).eval()


@pytest.mark.parametrize('name', NETWORKS)
def test_a_classifier_goes_on_from_each_map(name):
    backbone, channels, cuts = NETWORKS[name]
    model = classifier(backbone, channels)
    names = [*cuts, 'logits']
    signals = [Classifier().find(model, each, 'student') for each in names]
    with torch.no_grad():
        images = torch.randn(2, 3, 32, 32)
        *maps, logits = Classifier().ahead(model, images, signals).values()
        stages = Stages(model, names, 'student')
        kept = [each.clone() for each in maps]
        for start in range(len(cuts)):
            x = maps[start]
            for index in range(start, len(cuts) - 1):
                x = stages.step(index, x)
                torch.testing.assert_close(x, kept[index + 1])
            torch.testing.assert_close(stages.logits(x), logits)
    for before, after in zip(kept, maps):
        assert torch.equal(before, after), 'changed in place'


@pytest.mark.parametrize(
    'names',
    [
        ['logits'],
        ['backbone.layer1'],
        ['backbone.layer2', 'backbone.layer1', 'logits'],
        ['backbone.layer1', 'backbone.layer1', 'logits'],
        ['backbone.layer1.0.conv1', 'logits'],
        ['backbone', 'logits'],
    ],
)
def test_wrong_cuts_are_named(names):
    model = classifier(*NETWORKS['resnet'][:2])
    with pytest.raises(ValueError, match='the student is to be cut at') as e:
        Stages(model, names, 'student')
    assert 'backbone.layer2.preact, backbone.layer2.relu' in str(e.value)


def test_networks_that_cannot_be_cut_are_named():
    model = tiny_cls.build(tiny_cls.classifier('vit'))
    with pytest.raises(ValueError, match='teacher.*VisionTransformer.*cannot'):
        Stages(model, ['backbone.layers.0', 'logits'], 'teacher')
    backbone, channels, cuts = NETWORKS['wrn']
    model = classifier(dict(backbone, out_indices=(3,)), channels)
    with pytest.raises(ValueError, match='cannot be run from a map'):
        Stages(model, [*cuts, 'logits'], 'teacher')


def test_an_roi_head_scores_given_maps():
    names = ['neck', 'roi.cls_score', 'roi.bbox_pred']
    rois = torch.tensor([[0, 3.0, 5, 30, 40], [1, 0.0, 0, 64, 64]])
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = tiny.build(tiny.detector()).eval()
        cascade = tiny.build(tiny.detector('cascade'))
    requests = [(TwoStage().find(model, n, 'student'), 0) for n in names]
    with torch.no_grad():
        maps, *expected = compute_of_detector(
            model, torch.randn(2, 3, 64, 64), requests, {0: rois}
        )
        head = RoIHead(model, 'student')
        assert head.levels == 4
        for value, wanted in zip(head.predict(maps, rois), expected):
            torch.testing.assert_close(value, wanted)
    with pytest.raises(ValueError, match='the teacher .* single box head'):
        RoIHead(cascade, 'teacher')
