"""A teacher's weights are all loaded, or it is said what is missing."""

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from luminet_mm.teachers.frozen import FrozenTeacher
from luminet_mm.teachers.weights import draw_unset, load_teacher


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 4), nn.BatchNorm1d(4))


def save(tmp_path, **changes):
    state = {**Net().state_dict(), **changes}
    state = {key: value for key, value in state.items() if value is not None}
    torch.save(dict(state_dict=state, meta=dict(epoch=3)), tmp_path / 'a.pth')
    return state


def load(tmp_path, model, block=None):
    return load_teacher(model, 'Net', block or {}, str(tmp_path / 'a.pth'))


def test_all_of_it_is_loaded_and_the_checkpoint_given_back(tmp_path):
    state, model = save(tmp_path), Net()
    checkpoint = load(tmp_path, model)
    assert checkpoint['meta'] == dict(epoch=3)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_what_a_distilled_teacher_was_trained_with_is_left_out(tmp_path):
    save(tmp_path, **{'distill.loss_x.connectors.0.weight': torch.ones(2)})
    load(tmp_path, Net())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'0.bias': None}, r'1 of \d entries differ.\n  0\.bias: missing'),
        ({'0.weight': torch.ones(2, 3)}, r'0\.weight: .*\(2, 3\)'),
        ({'head.bias': torch.ones(1)}, r'head\.bias: unexpected'),
        (
            {f'extra.{i}': torch.ones(1) for i in range(15)},
            r'15 of .* and 3 more\nGive the config that this',
        ),
    ],
)
def test_a_checkpoint_of_another_network_is_named(tmp_path, changes, message):
    save(tmp_path, **changes)
    with pytest.raises(ValueError, match=f'(?s){message}') as error:
        load(tmp_path, Net())
    assert 'does not fit teacher.config (Net)' in str(error.value)


def test_a_part_that_is_saved_alone_needs_the_rest(tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        block = ConfigDict(tiny_cls.lora())
        model = MODELS.build(block)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='a part of itself .*Pretrained'):
        load(tmp_path, model, block)


STAGES = ['backbone.layer2', 'backbone.layer4']


def saved_teacher(tmp_path, change=None, meta=None, **kwargs):
    """Write a random teacher's checkpoint; return its config and path."""
    model = tiny.detector(width=12)
    model.update(kwargs)
    state = tiny.build(model, seed=5).state_dict()
    if change:
        change(state)
    path = str(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=state, meta=meta or {}), path)
    return model, path


def lora(init_cfg=None):
    transformer = dict(
        type='VisionTransformer',
        arch=dict(
            embed_dims=8,
            num_layers=1,
            num_heads=2,
            feedforward_channels=8,
        ),
        img_size=16,
        patch_size=8,
        init_cfg=init_cfg,
    )
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='LoRAModel',
            module=transformer,
            alpha=2,
            rank=2,
            targets=[dict(type='qkv')],
        ),
        head=dict(
            type='VisionTransformerClsHead', num_classes=3, in_channels=8
        ),
    ), transformer


def test_a_distilled_teacher_brings_no_connectors(tmp_path):
    trained = tiny_cls.build(
        tiny_cls.distiller(
            loss_x=dict(type='luminet_mm.FitNetLoss', signal=STAGES)
        )
    )
    assert any(k.startswith('distill.') for k in trained.state_dict())
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=trained.state_dict()), path)
    FrozenTeacher(dict(model=tiny_cls.classifier()), str(path), 'mmpretrain')


def test_weights_that_no_checkpoint_has(tmp_path):
    """LoRA saves its own matrices; the others come from ``init_cfg``."""
    model, transformer = lora()
    trained = tiny_cls.build(model, seed=1)
    path = str(tmp_path / 'lora.pth')
    torch.save(dict(state_dict=trained.state_dict()), path)
    with pytest.raises(ValueError, match='They would be random'):
        FrozenTeacher(dict(model=model), path, 'mmpretrain')
    base = str(tmp_path / 'base.pth')
    plain = tiny_cls.build(dict(model, backbone=transformer)).backbone
    torch.save(dict(state_dict=plain.state_dict()), base)
    whole, _ = lora(dict(type='Pretrained', checkpoint=base))
    teacher = FrozenTeacher(dict(model=whole), path, 'mmpretrain').model
    state = torch.load(base)['state_dict']
    projection = teacher.backbone.module.layers[0].attn.qkv
    torch.testing.assert_close(
        projection.original_layer.weight, state['layers.0.attn.qkv.weight']
    )
    torch.testing.assert_close(
        projection.lora_up.weight,
        trained.backbone.module.layers[0].attn.qkv.lora_up.weight,
    )


@pytest.mark.parametrize(
    'change, message',
    [
        (
            lambda s: s.pop('neck.fpn_convs.0.conv.weight'),
            'neck.fpn_convs.0.conv.weight: missing',
        ),
        (lambda s: s.update(extra=torch.zeros(1)), 'extra: unexpected'),
        (
            lambda s: s.update(
                {'roi_head.bbox_head.fc_cls.bias': torch.zeros(81)}
            ),
            r'bbox_head.fc_cls.bias: \(81,\) in the file, \(5,\) in the',
        ),
    ],
)
def test_checkpoint_must_fit(tmp_path, change, message):
    model, path = saved_teacher(tmp_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        FrozenTeacher(dict(model=model), path)
    assert 'teacher.pth' in str(caught.value)


def test_distilled_checkpoint_can_teach(tmp_path):
    model, path = saved_teacher(
        tmp_path, lambda s: s.update({'distill.loss_x.w': torch.zeros(1)})
    )
    FrozenTeacher(dict(model=model), path)


def test_weights_of_ddp_and_without_a_frame(tmp_path):
    model = tiny.detector(width=12)
    state = tiny.build(model, seed=5).state_dict()
    path = str(tmp_path / 'teacher.pth')
    for content in (state, {f'module.{k}': v for k, v in state.items()}):
        torch.save(content, path)
        loaded = FrozenTeacher(dict(model=model), path).model.state_dict()
        assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_checkpoint_with_code_is_refused(tmp_path):
    import fractions

    path = str(tmp_path / 'odd.pth')
    torch.save(dict(state_dict={}, meta=fractions.Fraction(1, 2)), path)
    with pytest.raises(ValueError, match='publish.py --trust'):
        FrozenTeacher(dict(model=tiny.detector()), path)


def test_weights_that_no_constructor_sets_are_drawn():
    """What memory holds may be NaN; the run draws what it would draw."""
    model = nn.Module()
    model.level_embed = nn.Parameter(torch.full((4, 8), torch.nan))
    model.other = nn.Parameter(torch.zeros(2))
    draw_unset(model)
    assert model.level_embed.isfinite().all() and model.level_embed.any()
    assert not model.other.any()
