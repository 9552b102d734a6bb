"""TwoStageDistiller: the stock student, with a teacher at its side."""

import copy
from functools import cache

import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

KINDS = ('faster', 'mask', 'cascade')


def states_equal(one, other):
    assert list(one) == list(other)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.fixture(scope='module')
def built():
    """Distillers whose weights no test changes, by kind."""
    return cache(tiny.of_logits)


@pytest.mark.parametrize('kind', KINDS)
def test_keys_are_the_stock_students(built, kind):
    stock = tiny.build(tiny.detector(kind))
    assert list(built(kind).state_dict()) == list(stock.state_dict())


@pytest.mark.parametrize('kind', KINDS)
def test_training_step_reaches_every_part(built, kind):
    model = built(kind)
    losses, logged = tiny.step(model, masks=kind == 'mask')
    for name in model.distill:
        assert losses[name].item() > 0
        assert logged[name].item() == losses[name].item()
        assert losses[name].requires_grad
    # the distillation terms alone move backbone, neck and RoI head
    model.zero_grad()
    data = tiny.prepared(model, masks=kind == 'mask')
    losses = model.loss(data['inputs'], data['data_samples'])
    sum(losses[name] for name in model.distill).backward()
    for part in (model.backbone.layer2, model.neck, model.roi_head):
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0
            for p in part.parameters()
        )


@pytest.mark.parametrize('kind', KINDS)
def test_checkpoint_is_the_stock_students(kind, tmp_path):
    model = tiny.of_logits(kind)
    tiny.step(model, masks=kind == 'mask')
    torch.optim.SGD(model.parameters(), 0.01).step()
    torch.save(model.state_dict(), tmp_path / 'student.pth')

    stock = tiny.build(tiny.detector(kind), seed=9).eval()
    stock.load_state_dict(
        torch.load(tmp_path / 'student.pth', weights_only=True), strict=True
    )
    model.eval()
    with torch.no_grad():
        ours, theirs = (m.test_step(tiny.batch()) for m in (model, stock))
    for one, other in zip(ours, theirs):
        one, other = one.pred_instances, other.pred_instances
        assert len(one) > 0
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(one[key], other[key]), key


@pytest.mark.parametrize('kind', KINDS)
def test_zero_weight_trains_like_stock(kind):
    """Same seed, same batches: the distiller must disturb nothing."""

    def train(model):
        optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
        for seed in range(3):
            optimizer.zero_grad()
            data = tiny.prepared(model, seed=seed, masks=kind == 'mask')
            losses = model.loss(data['inputs'], data['data_samples'])
            model.parse_losses(losses)[0].backward()
            optimizer.step()
        return model.state_dict(), torch.rand(3)

    def run(config):
        torch.manual_seed(4)  # once: building must not draw either
        model = MODELS.build(Config(dict(model=config)).model)
        model.init_weights()
        return train(model.train())

    config = tiny.distiller(
        tiny.detector(kind),
        tiny.detector(kind, width=12),
        **tiny.logit_losses(kind, loss_weight=0.0),
    )
    ours, our_draw = run(config)
    stock, stock_draw = run(tiny.detector(kind))
    states_equal(ours, stock)
    assert torch.equal(our_draw, stock_draw)


def test_zero_weight_runner_trains_like_stock(tmp_path):
    """The same through a Runner, the teacher's scoring included."""
    weights = []
    for name, model in (
        ('stock', tiny.detector()),
        ('ours', tiny.distiller(**tiny.logit_losses(loss_weight=0.0))),
    ):
        hooks = [dict(type='luminet_mm.TeacherCheckHook')]
        runner = tiny.runner(
            model,
            tmp_path / name,
            max_epochs=1,
            custom_hooks=hooks if name == 'ours' else [],
            **tiny.validation(),
        )
        runner.train()
        weights.append(runner.model.state_dict())
    states_equal(*weights)


def test_resume_equals_an_uninterrupted_run(tmp_path):
    hooks = [
        dict(type='luminet_mm.DistillScheduleHook', loss_0=dict(warmup=6)),
        dict(type='EMAHook'),
    ]

    def train(name, max_epochs, **kwargs):
        model = tiny.distiller(**tiny.logit_losses())
        # MMEngine saves no random state, so nothing may be drawn: the
        # samplers take every box there is
        model.train_cfg.rpn.sampler.num = 10**6
        model.train_cfg.rcnn.sampler.num = 10**6
        runner = tiny.runner(
            model,
            tmp_path / name,
            max_epochs=max_epochs,
            custom_hooks=copy.deepcopy(hooks),
            **kwargs,
        )
        runner.train()
        return runner

    whole = train('whole', 3)
    train('part', 1)
    resumed = train('part', 3, resume=True)
    assert resumed.iter == whole.iter == 12
    states_equal(resumed.model.state_dict(), whole.model.state_dict())
    files = [
        torch.load(tmp_path / name / 'epoch_3.pth', weights_only=False)
        for name in ('whole', 'part')
    ]
    states_equal(files[0]['ema_state_dict'], files[1]['ema_state_dict'])
    assert not [k for k in files[0]['ema_state_dict'] if 'teacher' in k]


def test_gradient_accumulation_adds_up(built, tmp_path):
    model = built('faster')
    model.zero_grad()
    tiny.step(model, seed=0)
    tiny.step(model, seed=1)
    both = {
        n: p.grad.clone()
        for n, p in model.named_parameters()
        if p.grad is not None
    }
    singles = []
    for seed in range(2):
        model.zero_grad()
        tiny.step(model, seed=seed)
        singles.append(
            {
                n: p.grad.clone()
                for n, p in model.named_parameters()
                if p.grad is not None
            }
        )
    for name, grad in both.items():
        torch.testing.assert_close(
            grad, singles[0][name] + singles[1][name], msg=name
        )
    runner = tiny.runner(
        tiny.distiller(),
        tmp_path,
        max_epochs=1,
        optim_wrapper=dict(
            accumulative_counts=2, optimizer=dict(type='SGD', lr=0.01)
        ),
    )
    runner.train()
    assert runner.iter == 4


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_amp_agrees_with_fp32(built, dtype):
    model = built('faster')
    model.zero_grad()
    weights = (
        model.roi_head.bbox_head.fc_cls.weight,
        model.neck.fpn_convs[0].conv.weight,
    )
    plain, _ = tiny.step(model)
    fp32 = [weight.grad.clone() for weight in weights]
    model.zero_grad()
    with torch.autocast('cpu', dtype):
        mixed, _ = tiny.step(model)
    assert mixed['loss_0'].dtype == torch.float32
    assert mixed['loss_0'].item() == pytest.approx(
        plain['loss_0'].item(), rel=0.25
    )
    for weight, expected in zip(weights, fp32):
        cosine = torch.cosine_similarity(
            weight.grad.flatten(), expected.flatten(), dim=0
        )
        assert cosine > 0.7


def test_switched_off_loss_saves_the_teacher():
    model = tiny.of_logits()
    model.fit_teacher(0)  # runs it once
    ran = []
    model.teacher.model.backbone.register_forward_hook(
        lambda *_: ran.append(1)
    )
    tiny.step(model)
    assert ran == [1]
    model.distill['loss_0'].schedule_factor = 0.0
    losses, _ = tiny.step(model)
    assert ran == [1] and losses['loss_0'] == 0


def test_images_without_objects(built):
    model = built('faster')
    model.zero_grad()
    data = tiny.prepared(model)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model.loss(data['inputs'], data['data_samples'])
    assert torch.isfinite(losses['loss_0'])
    model.parse_losses(losses)[0].backward()


@pytest.mark.parametrize(
    'student, teacher, side',
    [
        ('neck', 'neck', 'student'),
        ('roi.cls_score', 'rpn.cls_score', 'teacher'),
    ],
)
def test_a_logit_loss_on_maps_names_loss_and_signal(student, teacher, side):
    model = tiny.build(
        tiny.distiller(
            loss_kd=dict(
                type='luminet_mm.KDLoss', student=student, teacher=teacher
            )
        )
    )
    with pytest.raises(
        ValueError,
        match=rf"distill.loss_kd \({student}.*the {side}'s signal is a (tuple"
        r'|list), not one tensor',
    ):
        tiny.step(model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_amp_wrapper_trains_on_a_gpu(tmp_path, dtype):
    runner = tiny.runner(
        tiny.distiller(),
        tmp_path,
        max_epochs=1,
        optim_wrapper=dict(
            type='AmpOptimWrapper',
            dtype=dtype,
            optimizer=dict(type='SGD', lr=0.01),
        ),
        custom_hooks=[dict(type='luminet_mm.TeacherCheckHook')],
        **tiny.validation(),
    )
    before = runner.model.backbone.conv1.weight.detach().clone()
    runner.train()
    assert not torch.equal(before, runner.model.backbone.conv1.weight)
    assert all(p.isfinite().all() for p in runner.model.parameters())
