"""ClassifierDistiller: the stock classifier, with teachers at its side."""

from pathlib import Path

import pytest
import tiny_cls
import torch

KINDS = ('resnet', 'vit', 'deit')


pytestmark = pytest.mark.usefixtures('mmpretrain_scope')


def loss(kind='LumiNetLoss', **kwargs):
    return dict(
        type=f'luminet_mm.{kind}', **dict(dict(signal='logits'), **kwargs)
    )


def distiller(kind='resnet', teacher=None, **cfg):
    return tiny_cls.build(
        tiny_cls.distiller(
            tiny_cls.classifier(kind),
            teacher or tiny_cls.classifier(kind, width=12),
            loss_one=loss(**cfg),
        )
    )


def states_equal(one, other):
    assert list(one) == list(other)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.mark.parametrize('kind', KINDS)
def test_keys_are_the_stock_students(kind):
    stock = tiny_cls.build(tiny_cls.classifier(kind))
    assert list(distiller(kind).state_dict()) == list(stock.state_dict())


@pytest.mark.filterwarnings('ignore:MMPretrain cannot train')
@pytest.mark.parametrize('kind', KINDS)
def test_distillation_term_alone_moves_the_student(kind):
    model = distiller(kind)
    data = tiny_cls.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_one'].item() > 0
    losses['loss_one'].backward()
    for part in (model.backbone, model.head):
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0
            for p in part.parameters()
        )
    assert not any(module.training for module in model.teacher.model.modules())


@pytest.mark.filterwarnings('ignore:MMPretrain cannot train')
@pytest.mark.parametrize('kind', KINDS)
def test_checkpoint_is_the_stock_students(kind, tmp_path):
    model = distiller(kind)
    tiny_cls.step(model)
    torch.optim.SGD(model.parameters(), 0.01).step()
    torch.save(model.state_dict(), tmp_path / 'student.pth')
    stock = tiny_cls.build(tiny_cls.classifier(kind), seed=9).eval()
    stock.load_state_dict(
        torch.load(tmp_path / 'student.pth', weights_only=True), strict=True
    )
    model.eval()
    with torch.no_grad():
        ours, theirs = (m.test_step(tiny_cls.batch()) for m in (model, stock))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.pred_score, other.pred_score)


@pytest.mark.parametrize('kind', ['resnet', 'vit'])
@pytest.mark.parametrize('augments', [False, True])
def test_zero_weight_runner_trains_like_stock(tmp_path, kind, augments):
    """Drop-path, Mixup and the sampler draw the same numbers in both."""
    train_cfg = dict(augments=[dict(type='Mixup', alpha=0.8)])
    student = tiny_cls.classifier(kind, **(train_cfg if augments else {}))
    states = []
    for name, model in (
        ('stock', student),
        (
            'distilled',
            tiny_cls.distiller(student, loss_one=loss(loss_weight=0.0)),
        ),
    ):
        runner = tiny_cls.runner(model, tmp_path / name)
        runner.train()
        states.append(runner.model.state_dict())
    states_equal(*states)


def test_mixed_images_reach_the_teacher():
    student = tiny_cls.classifier(augments=[dict(type='CutMix', alpha=1.0)])
    model = tiny_cls.build(tiny_cls.distiller(student))
    model.fit_teacher(0)  # runs it once
    seen = []
    model.teacher.model.backbone.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0])
    )
    data = tiny_cls.prepared(model)
    plain = tiny_cls.prepared(model, training=False)
    assert not torch.equal(data['inputs'], plain['inputs'])  # it was mixed
    losses = model.loss(data['inputs'], data['data_samples'])
    assert len(seen) == 1
    assert torch.equal(seen[0], data['inputs'])
    assert losses['loss_luminet'].item() > 0


@pytest.mark.filterwarnings('ignore:MMPretrain cannot train')
def test_distillation_token_by_its_path():
    """DeiT: the teacher's logits teach the second token's own classifier."""
    model = tiny_cls.build(
        tiny_cls.distiller(
            tiny_cls.classifier('deit'),
            tiny_cls.classifier(),
            loss_token=dict(
                type='luminet_mm.KDLoss',
                student='head.layers.head_dist',
                teacher='logits',
            ),
        )
    )
    data = tiny_cls.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    losses['loss_token'].backward()
    assert model.head.layers.head_dist.weight.grad.abs().sum() > 0
    assert model.head.layers.head.weight.grad is None


def test_the_log_keeps_the_total_and_the_heads_loss_apart():
    """MMEngine logs the sum as `loss`; the head's own has another name."""
    losses, logged = tiny_cls.step(distiller(loss_weight=2.0))
    total = losses['loss_cls'] + losses['loss_one']
    assert torch.isclose(logged['loss'], total)
    assert torch.equal(logged['loss_cls'], losses['loss_cls'])


def test_resume_equals_an_uninterrupted_run(tmp_path):
    hooks = [
        dict(
            type='luminet_mm.DistillScheduleHook',
            loss_luminet=dict(warmup=3, unit='epoch'),
        )
    ]
    whole = tiny_cls.runner(
        tiny_cls.distiller(), tmp_path / 'whole', custom_hooks=hooks
    )
    whole.train()
    first = tiny_cls.runner(
        tiny_cls.distiller(), tmp_path / 'cut', 1, custom_hooks=hooks
    )
    first.train()
    second = tiny_cls.runner(
        tiny_cls.distiller(),
        tmp_path / 'cut',
        custom_hooks=hooks,
        resume=True,
        load_from=str(tmp_path / 'cut' / 'epoch_1.pth'),
    )
    second.train()
    states_equal(whole.model.state_dict(), second.model.state_dict())


def test_ema_and_teacher_check_run(tmp_path):
    teachers = [
        dict(
            config=dict(model=tiny_cls.classifier(width=width)),
            checkpoint=None,
        )
        for width in (6, 10)
    ]
    runner = tiny_cls.runner(
        tiny_cls.distiller(teacher=teachers),
        tmp_path,
        custom_hooks=[
            dict(type='EMAHook'),
            dict(type='luminet_mm.TeacherCheckHook'),
        ],
        log_level='INFO',
        **tiny_cls.validation(),
    )
    runner.train()
    (log,) = Path(runner.log_dir).glob('*.log')
    scores = [
        line
        for line in log.read_text().splitlines()
        if 'teacher (' in line and 'accuracy/top1' in line
    ]
    assert len(scores) == 2


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_agrees_with_fp32(dtype):
    model = distiller()
    data = tiny_cls.prepared(model)
    exact = model.loss(data['inputs'], data['data_samples'])['loss_one']
    with torch.autocast('cpu', dtype=dtype):
        half = model.loss(data['inputs'], data['data_samples'])['loss_one']
    assert half.dtype == torch.float32
    assert torch.allclose(half, exact, rtol=0.1)


def test_switched_off_loss_saves_the_teacher():
    model = distiller()
    model.distill.loss_one.schedule_factor = 0.0
    model.teacher.model.backbone.register_forward_hook(
        lambda *_: pytest.fail('the teacher ran')
    )
    losses, _ = tiny_cls.step(model)
    # MMEngine would go on logging the values of what is no longer there
    assert list(losses) == ['loss_cls', 'loss_one']
    assert losses['loss_one'] == 0


def test_a_logit_loss_on_maps_is_named():
    model = distiller(signal='backbone')
    with pytest.raises(ValueError, match='loss_one.*not one tensor of logits'):
        tiny_cls.step(model)
