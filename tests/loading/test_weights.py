"""Weights go into a model as its own hooks say, and what is left is named."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from luminet_mm.files.errors import CheckpointError
from luminet_mm.loading.weights import load_weights, unsaved
from luminet_mm.teachers.frozen import FrozenTeacher

VIT = dict(
    arch=dict(
        embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16
    ),
    patch_size=8,
)
SWIN = dict(
    arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]),
    window_size=2,
)
# Backbones of MMPretrain with load hooks, and the options of a small one.
HOOKED = dict(
    VisionTransformer=VIT,
    DistilledVisionTransformer=VIT,
    BEiTViT=dict(VIT, use_abs_pos_emb=False, use_rel_pos_bias=True),
    DeiT3=VIT,
    RevVisionTransformer=VIT,
    ViTSAM=dict(
        arch=dict(VIT['arch'], global_attn_indexes=[1]),
        patch_size=8,
        window_size=2,
        use_rel_pos=True,
        out_channels=16,
    ),
    SwinTransformer=SWIN,
    SwinTransformerV2=dict(
        arch=dict(SWIN['arch'], extra_norm_every_n_blocks=0),
        window_size=[2, 2, 2, 2],
    ),
    T2T_ViT=dict(
        t2t_cfg=dict(token_dims=8, use_performer=False),
        num_layers=1,
        layer_cfgs=dict(num_heads=1, feedforward_channels=16),
        embed_dims=16,
    ),
)


def classifier(kind, img_size=64):
    config = tiny_cls.classifier()
    width = 16 if 'Swin' not in kind else 64
    config['backbone'] = dict(
        type=f'mmpretrain.{kind}', img_size=img_size, **HOOKED[kind]
    )
    del config['neck']
    config['head']['in_channels'] = width
    return config


def build(config, seed):
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(copy.deepcopy(config))


def teacher(config, path):
    return FrozenTeacher(dict(model=config), str(path), 'mmpretrain')


@pytest.mark.parametrize('kind', HOOKED)
def test_a_models_own_weights_always_load(kind, tmp_path):
    config = classifier(kind)
    model = build(config, 1)
    path = tmp_path / 'own.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    loaded = teacher(config, path).model.state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(loaded[key], value), key


@pytest.mark.parametrize(
    'kind', ['VisionTransformer', 'DeiT3', 'SwinTransformer']
)
def test_tables_of_another_image_size_are_resized(kind, tmp_path):
    path = tmp_path / 'small.pth'
    torch.save(build(classifier(kind), 1).state_dict(), path)
    teacher(classifier(kind, 128), path)


def test_what_does_not_fit_is_left_alone_and_named():
    model = tiny.build(tiny.detector(), seed=1)
    before = copy.deepcopy(model.state_dict())
    state = tiny.build(tiny.detector(), seed=2).state_dict()
    state['neck.lateral_convs.0.conv.bias'] = torch.ones(3)
    del state['backbone.conv1.weight']
    state['extra'] = torch.ones(1)
    given = dict(state)
    fit = load_weights(model, state)
    assert dict(state) == given  # untouched
    assert list(fit.missing) == ['backbone.conv1.weight']
    assert list(fit.reshaped) == ['neck.lateral_convs.0.conv.bias']
    assert fit.unexpected == ['extra']
    assert len(fit.lines()) == 2 and '(3,) in the file' in fit.lines()[0]
    tensors = {key for key in before if 'num_batches_tracked' not in key}
    assert set(fit.loaded) == tensors - {*fit.missing, *fit.reshaped}
    for key, value in model.state_dict().items():
        kept = key in fit.missing or key in fit.reshaped
        expected = before[key] if kept else state[key]
        assert torch.equal(value, expected), key


def test_it_fills_the_same_numbers_as_mmengine():
    state = tiny.build(tiny.detector(), seed=2).state_dict()
    state['roi_head.bbox_head.fc_cls.bias'] = torch.ones(9)
    ours, theirs = (tiny.build(tiny.detector(), seed=1) for _ in range(2))
    load_weights(ours, state)
    load_state_dict(theirs, state)
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key


def test_a_wrapper_is_looked_through():
    class Wrapper(MMDistributedDataParallel):
        def __init__(self, module):
            torch.nn.Module.__init__(self)
            self.module = module

    model = tiny.build(tiny.detector())
    assert not load_weights(Wrapper(model), model.state_dict()).lines()


def test_batch_norm_counters_may_be_missing():
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    state = model.state_dict()
    del state['0.num_batches_tracked']
    assert not load_weights(model, state).lines()


@pytest.mark.parametrize('value', [5, 'text', None, [1.0]])
def test_values_that_are_not_tensors(value):
    model = torch.nn.Linear(1, 1)
    state = dict(model.state_dict(), bias=value)
    with pytest.raises(CheckpointError, match='Linear cannot take'):
        load_weights(model, state)


def test_what_a_state_dict_leaves_out():
    """Names that a hook changes, as TimmClassifier's does, are in it."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    assert unsaved(model) == []

    def rename(module, state, prefix, metadata):
        for key in list(state):
            state[key.removeprefix('0.')] = state.pop(key)

    model._register_state_dict_hook(rename)
    assert 'weight' in model.state_dict() and unsaved(model) == []
    model._register_state_dict_hook(
        lambda module, state, prefix, metadata: state.pop('1.bias') and None
    )
    assert unsaved(model) == ['1.bias']
