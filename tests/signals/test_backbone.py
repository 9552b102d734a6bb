"""A backbone alone as the teacher of a detector or of a classifier."""

import copy

import pytest
import tiny
import tiny_cls
import tiny_dense
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.preflight.distill import distill_problems
from luminet_mm.signals.backbone import BackboneAlone
from luminet_mm.signals.family import Question
from luminet_mm.teachers.weights import loads_itself

FAMILY = BackboneAlone()
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def teacher(checkpoint=None, **options):
    model = dict(
        type='luminet_mm.BackboneModel',
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch=ARCH,
            img_size=56,
            patch_size=14,
            out_type='featmap',
        ),
        data_preprocessor=dict(mean=[110.0] * 3, std=[50.0] * 3, to_rgb=True),
        **options,
    )
    return dict(config=model, checkpoint=checkpoint)


def of_detector(**loss):
    cfg = tiny_dense.distiller(
        loss_x=dict(
            dict(
                type='luminet_mm.FitNetLoss',
                connector='linear',
                student='neck',
                teacher='backbone',
            ),
            **loss,
        )
    )
    cfg.teacher = teacher()
    return cfg


def of_classifier(**loss):
    cfg = tiny_cls.distiller(
        loss_x=dict(
            dict(
                type='luminet_mm.FitNetLoss',
                connector='linear',
                signal='backbone',
            ),
            **loss,
        )
    )
    cfg['teacher'] = teacher(stride=8)
    return cfg


STUDENTS = {
    'RetinaNet': (of_detector, tiny_dense.detector, tiny, (1,)),
    'classifier': (of_classifier, tiny_cls.classifier, tiny_cls, (1,)),
}


@pytest.fixture(params=STUDENTS)
def pair(request):
    """Config of a distiller and of its student, helpers, student's levels."""
    return STUDENTS[request.param]


def test_a_step_trains_with_the_map_of_the_students_stride(pair):
    config, stock, help, levels = pair
    model = help.build(config())
    keys = list(help.build(stock()).state_dict())
    ours = [k for k in model.state_dict() if not k.startswith('distill.')]
    assert ours == keys
    loss = model.distill.loss_x
    assert loss.levels_of('student') == levels
    seen = []
    loss.register_forward_pre_hook(lambda _, args: seen.extend(args))
    losses, _ = help.step(model)
    assert losses['loss_x'] > 0
    student, maps = loss.select('student', seen[0])[0], seen[1][0]
    assert student.shape[2:] == maps.shape[2:] == (4, 4)
    model.zero_grad()
    data = help.prepared(model)
    model.loss(data['inputs'], data['data_samples'])['loss_x'].backward()
    assert any(
        p.grad is not None and p.grad.abs().sum() > 0
        for p in model.backbone.parameters()
    )
    assert not any(p.requires_grad for p in model.teacher.model.parameters())


def test_weight_zero_trains_like_stock(pair):
    config, stock, help, _ = pair
    models = help.build(config(loss_weight=0.0)), help.build(stock())
    for model in models:
        own = [
            p
            for name, p in model.named_parameters()
            if not name.startswith('distill.')
        ]
        optimizer = torch.optim.SGD(own, lr=0.01)
        for seed in range(2):
            optimizer.zero_grad()
            help.step(model, seed)
            optimizer.step()
    ours, theirs = (model.state_dict() for model in models)
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key


def test_it_sees_images_as_it_was_trained(pair):
    """Normalised its own way, padded, resized to whole patches."""
    config, _, help, _ = pair
    model = help.build(config())
    images = []
    backbone = model.teacher.model.backbone
    backbone.register_forward_pre_hook(lambda _, args: images.append(args[0]))
    raw = help.batch(num_images=1)
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    model.loss(data['inputs'], data['data_samples'])
    side = data['inputs'].shape[-1] // 4
    wanted = (raw['inputs'][0].flip(0).float() - 110) / 50
    wanted = model.teacher.model._resized(wanted[None], [4, 4])
    assert side in (8, 16) and images[-1].shape[-2:] == (56, 56)
    torch.testing.assert_close(images[-1], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('dtype', [None, 'bf16'])
def test_it_is_made_fast_as_any_teacher(pair, dtype):
    config, _, help, _ = pair
    cfg = config()
    cfg['teacher'].update(dtype=dtype)
    model = help.build(cfg)
    losses, _ = help.step(model)
    weight = model.teacher.model.backbone.patch_embed.projection.weight
    assert weight.dtype == (torch.bfloat16 if dtype else torch.float32)
    assert losses['loss_x'].dtype == torch.float32


def test_weights_come_from_a_classifier_or_the_backbone_alone(tmp_path):
    cfg = of_detector()
    model = tiny.build(cfg)
    bare = {
        key: torch.full_like(value, 0.5)
        for key, value in model.teacher.model.backbone.state_dict().items()
    }
    whole = {f'backbone.{key}': value for key, value in bare.items()}
    whole['head.fc.weight'] = torch.ones(2, 2)
    for name, state in (('bare', bare), ('whole', whole)):
        torch.save(state, tmp_path / f'{name}.pth')
        cfg.teacher.checkpoint = str(tmp_path / f'{name}.pth')
        built = tiny.build(copy.deepcopy(cfg)).teacher.model
        assert all((p == 0.5).all() for p in built.backbone.parameters())
    bare.pop('cls_token')
    torch.save(bare, tmp_path / 'less.pth')
    cfg.teacher.checkpoint = str(tmp_path / 'less.pth')
    with pytest.raises(ValueError, match='cls_token: missing'):
        tiny.build(cfg)


def test_weights_that_come_with_the_network():
    """timm loads them itself; then nothing in the log calls them random."""
    assert loads_itself(dict(backbone=dict(type='x', pretrained=True)))
    assert loads_itself(dict(backbone=dict(checkpoint_path='x.pth')))
    assert not loads_itself(dict(backbone=dict(pretrained=False)))


def test_its_modules_have_tokens():
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = tiny.build(of_detector()).teacher.model
    (block,) = [FAMILY.find(model, 'backbone.layers.0', 'teacher')]
    (maps,) = [FAMILY.find(model, 'backbone', 'teacher')]
    questions = [Question([block], []), Question([maps, block], [])]
    tokens, (pyramid, same) = FAMILY.dry(
        model, questions, torch.rand(1, 3, 64, 64)
    )
    assert tokens.shape == (1, 17, 16) and torch.equal(tokens, same)
    assert pyramid[0].shape == (1, 16, 4, 4)
    assert FAMILY.activation(model, [maps]) == ''
    assert FAMILY.num_classes(model, [maps]) is None
    assert FAMILY.sizes([model])[0] == (224, 224)
    for name in ('neck', 'logits', 'backbone.gone', 'data_preprocessor'):
        with pytest.raises(ValueError, match='It publishes backbone, and'):
            FAMILY.find(model, name, 'teacher')


@pytest.mark.parametrize(
    ('signal', 'said'),
    [
        (dict(student='cls_score', teacher='backbone'), 'maps alone can be'),
        (
            dict(signal='neck'),
            r"\(BackboneModel\) has no signal 'neck'. Set student='neck', "
            r"teacher='backbone' in the loss.* maps alone can be",
        ),
    ],
)
def test_it_has_nothing_but_maps(signal, said):
    cfg = of_detector()
    cfg.distill.loss_x = dict(type='luminet_mm.ATLoss', **signal)
    with pytest.raises(ValueError, match=said):
        tiny.build(cfg)


def test_it_is_no_student():
    with (
        pytest.raises(ValueError, match='a teacher and not a student'),
        FAMILY.record(torch.nn.Identity(), [], None, []),
    ):
        pass


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (dict(), ''),
        (dict(strides=16), 'config.strides: BackboneModel has no o'),
        (
            dict(backbone=dict(type='mmpretrain.VisionTransformr')),
            "config.backbone.type: 'mmpretrain.VisionTransformr' is not a re",
        ),
    ],
)
def test_tools_accept_it_and_find_what_is_wrong(change, said):
    model = of_detector()
    model.teacher.config.update(change)
    cfg = Config(dict(model=model, default_scope='mmdet'))
    lines = distill_problems(cfg)
    assert bool(lines) == bool(said)
    assert all(f'model.teacher.{said}' in line for line in lines)


def test_a_check_of_the_teacher_says_that_it_cannot_be_scored(tmp_path):
    runner = tiny.runner(
        of_detector(),
        tmp_path,
        max_epochs=1,
        custom_hooks=[
            dict(type='luminet_mm.TeacherCheckHook'),
            dict(type='luminet_mm.DistillMonitorHook', first=3),
        ],
        log_level='INFO',
        **tiny.validation(),
    )
    runner.train()
    (path,) = tmp_path.rglob('*.log')
    text = path.read_text()
    assert '(luminet_mm.BackboneModel) is not scored: it is a backbone' in text
    assert 'in 3 steps: ' in text and 'rows' not in text
