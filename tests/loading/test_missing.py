"""A checkpoint that leaves a part of the model random is refused."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from mmengine.registry import DefaultScope

from luminet_mm.files.errors import CheckpointError
from luminet_mm.loading.missing import (
    left_random,
    missing_of_part,
    missing_weights,
    report,
)
from luminet_mm.loading.strict import strict_loading
from luminet_mm.loading.weights import Fit, load_weights


@pytest.fixture(autouse=True)
def _restored():
    with strict_loading():
        yield


def fit(model, other):
    return load_weights(model, other.state_dict())


def built(**kwargs):
    return tiny.build(tiny.detector(**kwargs))


def of_coco():
    """The tiny detector for 80 classes."""
    config = copy.deepcopy(tiny.detector())
    config['roi_head']['bbox_head']['num_classes'] = 80
    return config


def test_of_a_detector_with_other_classes_only_the_last_layer_differs():
    student = built()
    found = fit(student, tiny.build(of_coco()))
    assert len(found.reshaped) == 4  # fc_cls and fc_reg
    assert not missing_weights(student, found, last_layer=True)
    assert len(missing_weights(student, found, last_layer=False)) == 4


def test_of_a_classifier_with_other_classes_too():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        student = tiny_cls.build(tiny_cls.classifier())
        file = tiny_cls.build(tiny_cls.classifier(num_classes=1000))
    assert not missing_weights(student, fit(student, file), True)
    state = {
        key: value
        for key, value in file.state_dict().items()
        if not key.startswith('head.')
    }
    assert not missing_weights(student, load_weights(student, state), True)
    assert missing_weights(student, load_weights(student, state), False)


@pytest.mark.parametrize(
    'change',
    [
        lambda s: {k: v for k, v in s.items() if not k.startswith('neck.')},
        lambda s: {k: v for k, v in s.items() if 'rpn_head' not in k},
        lambda s: {k: v for k, v in s.items() if 'shared_fcs' not in k},
        lambda s: {k: v for k, v in s.items() if 'running_mean' not in k},
        lambda s: {f'student.{k}': v for k, v in s.items()},
        lambda s: dict(s, **{'rpn_head.rpn_cls.bias': torch.ones(9)}),
        lambda s: {},
    ],
)
def test_anything_else_that_is_missing_counts(change):
    model = built()
    found = load_weights(model, change(model.state_dict()))
    assert missing_weights(model, found, last_layer=True)


def test_another_width_counts():
    model = built()
    wide = built(width=12)
    assert missing_weights(model, fit(model, wide), last_layer=True)
    part = model.backbone
    assert missing_of_part(part, fit(part, wide.backbone))


@pytest.mark.parametrize(
    'ours, theirs, refused',
    [(18, 18, False), (18, 34, False), (34, 18, True), (50, 18, True)],
)
def test_a_backbone_of_another_depth(ours, theirs, refused):
    """A deeper file has all that a shallower network needs."""
    from mmdet.models import ResNet

    part, file = (
        ResNet(depth, base_channels=8, stem_channels=8)
        for depth in (ours, theirs)
    )
    assert bool(missing_of_part(part, fit(part, file))) == refused


def test_what_stock_configs_add_to_a_pretrained_network_is_random():
    from mmdet.models import ResNet

    plugin = dict(
        cfg=dict(type='mmdet.DropBlock', drop_prob=0.1, block_size=3),
        stages=(False, True, True, True),
        position='after_conv3',
    )
    part = ResNet(50, base_channels=8, stem_channels=8, plugins=[plugin])
    part.layer4[0].add_module('attention', torch.nn.Linear(4, 4))
    found = fit(part, ResNet(50, base_channels=8, stem_channels=8))
    assert found.missing and not missing_of_part(part, found)


def test_all_ranks_agree(monkeypatch):
    """Two machines may have two files of one name."""
    monkeypatch.setattr(
        'luminet_mm.loading.missing.all_gather_object',
        lambda fault: [fault, 'a.pth on another machine'],
    )
    with pytest.raises(CheckpointError, match='on another machine'):
        report('a.pth', Fit(dict(a=4), {}, {}, []), [], False)
    report('a.pth', Fit(dict(a=4), {}, {}, []), [], True)


@pytest.fixture
def lora():
    """A model that LoRA trained, and the whole of what it was trained on."""
    config = tiny_cls.lora()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(config)
    base = {
        f'{name}': value.detach()
        for name, value in model.named_parameters()
        if 'lora' not in name
    }
    return config, model, base


@pytest.mark.parametrize(
    'start',
    [
        dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')),
        dict(module=dict(init_cfg=[dict(type='PretrainedInit')])),
        dict(module=dict(name_or_path='facebook/opt-125m')),
    ],
)
def test_weights_that_no_checkpoint_has_but_the_config_loads(lora, start):
    config, model, _ = lora
    found = load_weights(model, model.state_dict())
    assert left_random(found, config) == found.unsaved != []
    part = dict(backbone=start)
    assert not left_random(found, part)
    assert left_random(found, dict(head=start)) == found.unsaved
    assert not left_random(found, dict(pretrained='a.pth'))
