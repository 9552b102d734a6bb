"""FrozenTeacher: outside of everything that trains, checked on the way in."""

import copy
import pickle

import pytest
import tiny
import tiny_cls
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

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


@pytest.fixture(scope='module')
def built():
    """A detector with its teacher; no test here changes its weights."""
    return tiny.build(tiny.distiller())


def test_is_not_in_parameters_or_state_dict(built):
    student, distiller = tiny.build(tiny.detector()), built
    assert list(distiller.state_dict()) == list(student.state_dict())
    assert [n for n, _ in distiller.named_parameters()] == [
        n for n, _ in student.named_parameters()
    ]
    assert all(
        not p.requires_grad for p in distiller.teacher.model.parameters()
    )


def test_is_not_in_the_optimizer(built):
    distiller = built
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


def test_ema_copy_shares_it(built):
    distiller = built
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


def test_pickles_with_the_student(built):
    distiller = built
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
    with pytest.raises(ValueError, match='schedule.py.*no `model` block'):
        FrozenTeacher(str(path), None)


def test_a_copy_shares_the_fit():
    """Else both would put their hooks on the one model."""
    model = tiny.build(tiny.distiller())
    other = copy.deepcopy(model)
    tiny.step(model)
    assert other.teacher.fitted
    tiny.step(other)
    assert len(model.teacher.model.backbone._forward_pre_hooks) == 1


def test_a_fitted_teacher_is_pickled():
    cfg = tiny.distiller()
    cfg.teacher.dtype = 'bf16'
    model = tiny.build(cfg)
    losses, _ = tiny.step(model)
    other = pickle.loads(pickle.dumps(model))
    again, _ = tiny.step(other)
    assert again['loss_luminet'] == losses['loss_luminet']
    form = other.teacher._form
    (hook, *_) = other.teacher.model.backbone._forward_pre_hooks.values()
    assert hook.keywords['form'] is form and form.fitted


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
@pytest.mark.parametrize('first', [False, True], ids=['before', 'after'])
def test_a_precision_that_was_asked_for_stays(dtype, first):
    """The student's is another; what the heads get follows that."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = tiny_cls.distiller()
        cfg['teacher']['dtype'] = 'fp16'
        model = tiny_cls.build(cfg)
        data = tiny_cls.prepared(model)
        if first:
            model.loss(data['inputs'], data['data_samples'])
        backbone = model.teacher.model.backbone
        before = {k: v.clone() for k, v in backbone.state_dict().items()}
        model.to(dtype)
        losses = model.loss(data['inputs'].to(dtype), data['data_samples'])
    for key, value in backbone.state_dict().items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key]), key
    head = model.teacher.model.head
    assert {p.dtype for p in head.parameters()} == {dtype}
    assert losses['loss_luminet'].isfinite()


def test_its_own_precision_goes_before_autocast():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = tiny_cls.distiller()
        cfg['teacher']['dtype'] = 'fp16'
        model = tiny_cls.build(cfg)
        seen = set()
        model.teacher.model.backbone.conv1.register_forward_hook(
            lambda module, args, out: seen.add(out.dtype)
        )
        data = tiny_cls.prepared(model)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            model.loss(data['inputs'], data['data_samples'])
    assert seen == {torch.float16}


def norms(module):
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]


def test_a_teacher_says_how_it_was_prepared(monkeypatch):
    said = []
    for module in ('frozen', 'weights'):
        monkeypatch.setattr(
            f'luminet_mm.teachers.{module}.print_log',
            lambda text, *_: said.append(text),
        )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = tiny_cls.distiller()
        cfg['teacher'].update(fold_bn=False, dtype='bf16')
        model = tiny_cls.build(cfg)
        assert 'ImageClassifier): bf16; what the' in said[-1]
        data = tiny_cls.prepared(model)
        for _ in range(2):
            model.loss(data['inputs'], data['data_samples'])
    assert len(said) == 3  # that its weights are random, and one line twice
    assert 'ImageClassifier) on cpu: channels_last; what the' in said[-1]
    backbone = model.teacher.model.backbone
    assert next(backbone.parameters()).dtype == torch.bfloat16
    head = model.teacher.model.head
    assert next(head.parameters()).dtype == torch.float32


def test_a_low_precision_detector_predicts_in_float32():
    cfg = tiny.distiller()
    cfg['teacher']['dtype'] = 'bf16'
    model = tiny.build(cfg)
    teacher = model.teacher.model
    assert next(teacher.neck.parameters()).dtype == torch.bfloat16
    head = teacher.roi_head.bbox_head
    assert head.shared_fcs[0].weight.dtype == torch.bfloat16
    assert head.fc_cls.weight.dtype == torch.float32
    assert head.fc_reg.weight.dtype == torch.float32
    batch = tiny.prepared(model)
    losses = model.loss(batch['inputs'], batch['data_samples'])
    assert losses['loss_luminet'].isfinite()


def test_what_gradients_pass_keeps_its_layout():
    """oneDNN of torch 2.15 crashed on channels-last maps in training."""
    stages = [f'backbone.layer{i}' for i in (1, 2, 3)]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(
            tiny_cls.distiller(
                *[
                    dict(
                        tiny_cls.classifier(),
                        backbone=dict(
                            type='luminet_mm.CIFARResNet',
                            depth=8,
                            stage_channels=(width, width, 8, 16),
                        ),
                        head=dict(
                            type='LinearClsHead',
                            num_classes=tiny_cls.NUM_CLASSES,
                            in_channels=16,
                        ),
                    )
                    for width in (4, 6)
                ],
                loss_x=dict(
                    type='luminet_mm.FCFDLoss', signal=[*stages, 'logits']
                ),
            )
        )
    backbone = model.teacher.model.backbone
    assert not norms(backbone) and not backbone._forward_pre_hooks
