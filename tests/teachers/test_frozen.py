"""FrozenTeacher: outside of everything that trains, checked on the way in."""

import copy
import pickle

import pytest
import tiny
import tiny_cls
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from torch import nn

from luminet_mm.teachers.frozen import FrozenTeacher


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


def test_is_not_in_parameters_or_state_dict():
    student = tiny.build(tiny.detector())
    distiller = tiny.build(tiny.distiller())
    assert list(distiller.state_dict()) == list(student.state_dict())
    assert [n for n, _ in distiller.named_parameters()] == [
        n for n, _ in student.named_parameters()
    ]
    assert all(
        not p.requires_grad for p in distiller.teacher.model.parameters()
    )


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


def test_is_not_in_the_optimizer():
    distiller = tiny.build(tiny.distiller())
    wrapper = build_optim_wrapper(
        distiller, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1))
    )
    optimised = {
        id(p)
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }
    assert optimised == {id(p) for p in distiller.parameters()}
    assert not optimised & {
        id(p) for p in distiller.teacher.model.parameters()
    }


def test_is_not_in_ddp(tmp_path):
    torch.distributed.init_process_group(
        'gloo', f'file://{tmp_path}/init', rank=0, world_size=1
    )
    try:
        distiller = tiny.build(tiny.distiller())
        ddp = nn.parallel.DistributedDataParallel(distiller)
        assert not {id(p) for p in ddp.parameters()} & {
            id(p) for p in distiller.teacher.model.parameters()
        }
    finally:
        torch.distributed.destroy_process_group()


def test_ema_copy_shares_it():
    distiller = tiny.build(tiny.distiller())
    averaged = ExponentialMovingAverage(distiller)
    assert averaged.module.teacher.model is distiller.teacher.model
    assert copy.deepcopy(distiller).teacher.model is distiller.teacher.model


def test_a_moved_copy_leaves_it_where_it_is():
    """An export in mid-training copies, moves and casts the student."""
    distiller = tiny.build(tiny.distiller())
    copy.deepcopy(distiller).half().to('meta')
    (place,) = {
        (p.device.type, p.dtype) for p in distiller.teacher.model.parameters()
    }
    assert place == ('cpu', torch.float32)
    distiller.double()
    assert next(distiller.teacher.model.parameters()).dtype == torch.float64


def test_pickles_with_the_student():
    distiller = tiny.build(tiny.distiller())
    loaded = pickle.loads(pickle.dumps(distiller))
    data = tiny.prepared(distiller)
    values = []
    for model in (distiller, loaded):
        torch.manual_seed(0)
        losses = model.loss(data['inputs'], data['data_samples'])
        values.append(losses['loss_luminet'])
    assert values[0] == values[1] > 0


def test_init_weights_leaves_it_alone(tmp_path):
    teacher, path = saved_teacher(tmp_path)
    cfg = tiny.distiller(teacher=teacher, checkpoint=path)
    cfg.teacher.fold_bn = False  # to compare weights
    distiller = tiny.build(cfg)
    distiller.init_weights()
    expected = torch.load(path, weights_only=True)['state_dict']
    for key, value in distiller.teacher.model.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_stays_in_eval_through_training_steps():
    distiller = tiny.build(tiny.distiller())
    teacher = distiller.teacher.model
    # the student's norm layers are frozen by its config; these are not
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    distiller.train()
    for seed in range(2):
        data = tiny.prepared(distiller, seed=seed)
        losses = distiller.loss(data['inputs'], data['data_samples'])
        distiller.parse_losses(losses)[0].backward()
    assert not any(module.training for module in teacher.modules())
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(
    'move, dtype',
    [
        (lambda m: m.half(), torch.float16),
        (lambda m: m.double(), torch.float64),
        (lambda m: m.to(torch.bfloat16), torch.bfloat16),
    ],
)
def test_follows_dtype(move, dtype):
    distiller = tiny.build(tiny.distiller())
    move(distiller)
    teacher = distiller.teacher.model
    assert {p.dtype for p in teacher.parameters()} == {dtype}


def test_follows_device():
    distiller = tiny.build(tiny.distiller())
    distiller.to('meta')
    teacher = distiller.teacher.model
    assert {p.device.type for p in teacher.parameters()} == {'meta'}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_follows_cuda():
    distiller = tiny.build(tiny.distiller()).cuda()
    teacher = distiller.teacher.model
    assert {p.device.type for p in teacher.parameters()} == {'cuda'}


def test_building_it_draws_no_random_numbers():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    FrozenTeacher(dict(model=tiny.detector()), None)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    'meta',
    [
        dict(CLASSES=tiny.CLASSES),
        dict(dataset_meta=dict(CLASSES=list(tiny.CLASSES))),
    ],
)
def test_class_names_of_an_old_checkpoint(tmp_path, meta):
    model, path = saved_teacher(tmp_path, meta=meta)
    assert FrozenTeacher(dict(model=model), path).classes == tiny.CLASSES


@pytest.mark.parametrize(
    'wrap',
    [
        lambda d: d,
        lambda d: dict(type='RepeatDataset', dataset=d),
        lambda d: dict(type='ConcatDataset', datasets=[d, d]),
    ],
)
def test_class_names_of_the_config(wrap):
    dataset = wrap(dict(metainfo=dict(classes=tiny.CLASSES)))
    config = dict(
        model=tiny.detector(), train_dataloader=dict(dataset=dataset)
    )
    assert FrozenTeacher(config, None).classes == tiny.CLASSES


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


def test_student_of_a_distillation_can_teach():
    """Its config names a teacher; that one is neither loaded nor run."""
    config = tiny.distiller()
    config.teacher.checkpoint = 'gone.pth'
    teacher = FrozenTeacher(dict(model=config), None)
    assert teacher.name == 'mmdet.TwoStageDetector'
    assert not hasattr(teacher.model, 'teacher')
    assert list(teacher.model.state_dict()) == list(
        tiny.build(tiny.detector()).state_dict()
    )


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


def test_missing_files_are_named():
    with pytest.raises(FileNotFoundError, match='no_such_config.py'):
        FrozenTeacher('no_such_config.py', None)
    with pytest.raises(FileNotFoundError, match='no_such.pth'):
        FrozenTeacher(dict(model=tiny.detector()), 'no_such.pth')
    with pytest.raises(FileNotFoundError, match='faster_rcnn/nothing.py'):
        FrozenTeacher('mmdet::faster_rcnn/nothing.py', None)


def test_config_needs_a_model(tmp_path):
    path = tmp_path / 'schedule.py'
    path.write_text("default_scope = 'mmdet'")
    with pytest.raises(ValueError, match='schedule.py.*no block `model`'):
        FrozenTeacher(str(path), None)


def preprocessor(mean, std, bgr_to_rgb):
    return dict(
        type='DetDataPreprocessor',
        mean=mean,
        std=std,
        bgr_to_rgb=bgr_to_rgb,
        pad_size_divisor=32,
        pad_mask=False,
    )


CAFFE = preprocessor([103.53, 116.28, 123.675], [1.0, 1.0, 1.0], False)
PLAIN = dict(type='DetDataPreprocessor', pad_size_divisor=32)


@pytest.mark.parametrize('theirs', [CAFFE, PLAIN], ids=['caffe', 'raw'])
def test_input_is_renormalised_and_padding_stays_zero(theirs):
    config = tiny.distiller()
    config.teacher['config']['model'].data_preprocessor = theirs
    distiller = tiny.build(config)
    raw = tiny.batch(num_images=3, size=72)
    data = distiller.data_preprocessor(copy.deepcopy(raw), True)
    wanted = distiller.teacher.model.data_preprocessor(raw, True)['inputs']
    given = distiller.teacher.view(
        distiller, data['inputs'], data['data_samples']
    )
    torch.testing.assert_close(given, wanted.float(), rtol=1e-4, atol=1e-3)
    # image 1 is narrower than the others: a real zero border to keep
    assert torch.count_nonzero(given[1, :, :, 72 - 16 :]) == 0
    assert torch.count_nonzero(given[0, :, 72:]) == 0


def test_same_preprocessing_passes_the_tensor_on():
    distiller = tiny.build(tiny.distiller())
    data = tiny.prepared(distiller)
    assert (
        distiller.teacher.view(distiller, data['inputs'], data['data_samples'])
        is data['inputs']
    )


@pytest.mark.parametrize('mean', [0.0, 1.0])
def test_input_is_padded_to_the_teachers_divisor(mean):
    config = tiny.distiller()
    theirs = config.teacher['config']['model'].data_preprocessor
    theirs.pad_size_divisor = 128
    theirs.mean = [m + mean for m in theirs.mean]  # 0: else alike
    distiller = tiny.build(config)
    raw = tiny.batch(num_images=3, size=72)
    data = distiller.data_preprocessor(copy.deepcopy(raw), True)
    assert data['inputs'].shape[2:] == (96, 96)
    wanted = distiller.teacher.model.data_preprocessor(raw, True)['inputs']
    given = distiller.teacher.view(
        distiller, data['inputs'], data['data_samples']
    )
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-3)
    losses = distiller.loss(data['inputs'], data['data_samples'])
    assert losses['loss_luminet'] > 0
