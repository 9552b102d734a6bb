"""ClassifierDistiller: the stock classifier, with teachers at its side."""

import copy
from pathlib import Path

import pytest
import tiny_cls
import torch
from goldens import assert_golden, golden_cases
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from luminet_mm.losses import (
    CRDLoss,
    DistillBatch,
    KDLoss,
    LumiNetLoss,
    pkt_loss,
)
from luminet_mm.losses.kd import kd_loss
from luminet_mm.teachers.ensemble import weighted_mean

KINDS = ('resnet', 'vit', 'deit')


@pytest.fixture(autouse=True)
def _mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


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


def step(model, seed=0):
    data = tiny_cls.prepared(model, seed=seed)
    torch.manual_seed(seed)
    losses = model.loss(data['inputs'], data['data_samples'])
    total, logged = model.parse_losses(losses)
    total.backward()
    return losses, logged


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
    step(model)
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


def test_hard_labels_reach_the_loss_and_soft_ones_are_refused():
    needs_labels = dict(loss_dkd=loss('DKDLoss'))
    model = tiny_cls.build(tiny_cls.distiller(**needs_labels))
    seen = {}
    compute = model.distill.loss_dkd.compute

    def record(student, teacher, weights, batch):
        seen['labels'] = batch.labels
        return compute(student, teacher, weights, batch)

    model.distill.loss_dkd.compute = record
    data = tiny_cls.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    wanted = torch.cat([sample.gt_label for sample in data['data_samples']])
    assert torch.equal(seen['labels'], wanted)

    student = tiny_cls.classifier(augments=[dict(type='Mixup', alpha=0.8)])
    model = tiny_cls.build(tiny_cls.distiller(student, **needs_labels))
    data = tiny_cls.prepared(model)
    with pytest.raises(ValueError, match='loss_dkd.*soft'):
        model.loss(data['inputs'], data['data_samples'])


def test_one_hot_targets_and_label_smoothing_keep_hard_labels():
    student = tiny_cls.classifier()
    student['data_preprocessor']['to_onehot'] = True
    student['head']['loss'] = dict(
        type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1
    )
    model = tiny_cls.build(
        tiny_cls.distiller(student, loss_dkd=loss('DKDLoss'))
    )
    data = tiny_cls.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_dkd'].item() > 0


def test_soft_annotations_are_soft_labels():
    model = tiny_cls.build(tiny_cls.distiller(loss_dkd=loss('DKDLoss')))
    data = tiny_cls.prepared(model)
    for sample in data['data_samples']:
        del sample.gt_label
        sample.set_gt_score(torch.full((tiny_cls.NUM_CLASSES,), 0.2))
    with pytest.raises(ValueError, match='soft'):
        model.loss(data['inputs'], data['data_samples'])


def test_signals_of_every_part():
    names = ['backbone', 'neck', 'feats', 'logits', 'backbone.layer2']
    model = tiny_cls.build(tiny_cls.distiller())
    signals = [model.family.find(model, name, 'student') for name in names]
    data = tiny_cls.prepared(model)
    with model.family.record(
        model, signals, data['inputs'], data['data_samples']
    ) as record:
        model.forward(**data, mode='loss')
    values = record.values
    assert [tuple(x.shape) for x in values['backbone']] == [
        (8, 8, 32, 32),
        (8, 64, 4, 4),
    ]
    assert torch.equal(values['feats'], values['neck'][-1])
    assert torch.allclose(
        values['logits'], model.head.fc(values['feats']), atol=1e-6
    )
    assert tuple(values['backbone.layer2'].shape) == (8, 16, 16, 16)

    teacher = model.teacher.model
    ran = []
    for name in ('backbone', 'neck', 'head'):
        getattr(teacher, name).register_forward_hook(
            lambda *_args, name=name: ran.append(name)
        )
    for name, needed in (
        ('backbone.layer2', ['backbone']),
        ('neck', ['backbone', 'neck']),
        ('feats', ['backbone', 'neck', 'head']),
    ):
        ran.clear()
        signal = model.family.find(teacher, name, 'teacher')
        model.family.ahead(teacher, data['inputs'], [signal])
        assert ran == needed
    assert 'pre_logits' not in vars(teacher.head)  # no tap stays behind


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


def test_ensemble_averages_logits():
    widths = (6, 10, 12)
    weights = (1.0, 2.0, 5.0)
    teachers = [
        dict(
            config=dict(model=tiny_cls.classifier(width=width)),
            checkpoint=None,
            weight=weight,
        )
        for width, weight in zip(widths, weights)
    ]
    model = tiny_cls.build(
        tiny_cls.distiller(teacher=teachers, loss_kd=loss('KDLoss', tau=2.0))
    )
    data = tiny_cls.prepared(model)
    model.eval()
    losses = model.loss(data['inputs'], data['data_samples'])
    with torch.no_grad():
        student = model(data['inputs'])
        mean = sum(
            teacher.model(data['inputs']) * weight
            for teacher, weight in zip(model.teachers, weights)
        ) / sum(weights)
    wanted = kd_loss(student, mean, tau=2.0)
    assert torch.allclose(losses['loss_kd'], wanted, rtol=1e-5)
    # equal weights by default, and no gradient for any of them
    assert not any(
        p.requires_grad
        for teacher in model.teachers
        for p in teacher.model.parameters()
    )
    copied = copy.deepcopy(model)
    for one, other in zip(copied.teachers, model.teachers, strict=True):
        assert one.model is other.model
    model.double()
    assert {next(t.model.parameters()).dtype for t in model.teachers} == {
        torch.float64
    }


def test_teacher_sees_its_own_normalisation():
    teacher = tiny_cls.classifier(width=12)
    teacher['data_preprocessor'] = dict(
        num_classes=5, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=False
    )
    model = tiny_cls.build(tiny_cls.distiller(teacher=teacher))
    model.fit_teacher(0)  # runs it once
    seen = []
    model.teacher.model.backbone.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0])
    )
    data = tiny_cls.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    wanted = model.teacher.model.data_preprocessor(tiny_cls.batch(), True)
    assert torch.allclose(seen[0], wanted['inputs'], atol=1e-4)


def test_a_teachers_preprocessor_may_stand_beside_its_model():
    """MMPretrain's configs write it there, not in the model."""
    config = dict(model=tiny_cls.classifier(width=12))
    config['data_preprocessor'] = config['model'].pop('data_preprocessor')
    model = tiny_cls.distiller()
    model['teacher']['config'] = config
    theirs = tiny_cls.build(model).teacher.model.data_preprocessor
    assert theirs.mean.flatten().tolist() == [120.0, 110.0, 100.0]
    assert theirs.to_rgb


def test_the_log_keeps_the_total_and_the_heads_loss_apart():
    """MMEngine logs the sum as `loss`; the head's own has another name."""
    losses, logged = step(distiller(loss_weight=2.0))
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
    losses, _ = step(model)
    # MMEngine would go on logging the values of what is no longer there
    assert list(losses) == ['loss_cls', 'loss_one']
    assert losses['loss_one'] == 0


def test_soft_annotations_beside_a_label_are_soft():
    model = tiny_cls.build(tiny_cls.distiller(loss_dkd=loss('DKDLoss')))
    data = tiny_cls.prepared(model)
    for sample in data['data_samples']:
        sample.set_gt_score(torch.full((tiny_cls.NUM_CLASSES,), 0.2))
    with pytest.raises(ValueError, match='soft'):
        model.loss(data['inputs'], data['data_samples'])


def test_labels_stay_with_the_images():
    """The rows of a map's logits are pixels; they have no labels."""
    model = tiny_cls.build(
        tiny_cls.distiller(
            loss_kd=loss('KDLoss', signal='backbone.layer2'),
            teacher=tiny_cls.classifier(),
        )
    )
    losses, _ = step(model)
    assert losses['loss_kd'].isfinite()


def test_stale_image_sizes_do_not_blank_the_teachers_images():
    """MMPretrain's torchvision transforms leave img_shape as the file's."""
    model = distiller()
    data = tiny_cls.prepared(model)
    images, samples = data['inputs'], data['data_samples']
    size = tuple(images.shape[-2:])
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(10, 12)))
    assert model.family.image_sizes(model, images, samples) == [size] * len(
        samples
    )
    samples[0].set_metainfo(dict(img_shape=size))  # the others were padded
    sizes = model.family.image_sizes(model, images, samples)
    assert sizes[:2] == [size, (10, 12)]


@pytest.mark.parametrize(
    ('head', 'what'),
    [
        (dict(type='ArcFaceClsHead', in_channels=64), 'adds a margin'),
        (
            dict(type='MultiLabelLinearClsHead', in_channels=64),
            'a probability of its own',
        ),
    ],
)
def test_heads_without_softmax_logits_are_refused(head, what):
    student = tiny_cls.classifier()
    student['head'] = dict(
        head, type=f'mmpretrain.{head["type"]}', num_classes=5
    )
    with pytest.raises(ValueError, match=f"the student's head .* {what}"):
        tiny_cls.build(tiny_cls.distiller(student))


def test_a_signal_without_gradient_is_an_error():
    model = distiller()
    model.backbone.requires_grad_(False)
    model.head.requires_grad_(False)
    data = tiny_cls.prepared(model)
    with pytest.raises(
        ValueError, match="loss_one: the student's signal has no"
    ):
        model.loss(data['inputs'], data['data_samples'])
    with torch.no_grad():
        model.loss(data['inputs'], data['data_samples'])


def test_teacher_of_another_make():
    """A teacher that is no ImageClassifier publishes its logits."""
    model = distiller()
    model.teachers[0].model = Plain()
    data = tiny_cls.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_one'].item() > 0


class Plain(nn.Module):
    """What `TimmClassifier` and `HuggingFaceClassifier` offer."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = MODELS.build(
            dict(
                type='mmpretrain.ClsDataPreprocessor',
                mean=[120.0, 110.0, 100.0],
                std=[60.0, 55.0, 50.0],
                to_rgb=True,
            )
        )
        self.model = nn.Linear(3, tiny_cls.NUM_CLASSES)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'tensor'
        return self.model(inputs.mean((2, 3)))


TWO = [
    dict(config=dict(model=tiny_cls.classifier(width=6)), checkpoint=None)
] * 2


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(loss_one=loss(signal='logit')), "no signal 'logit'.*'logits'"),
        (dict(loss_one=loss(signal='distill')), "no signal 'distill'"),
        (dict(loss_one=loss(tau=0.0)), 'loss_one.*tau is 0.0'),
        (dict(luminet=loss()), 'luminet: the key must start'),
        (dict(teacher=[], loss_one=loss()), 'model.teacher: missing'),
        (
            dict(teacher=[TWO[0], dict(config='x')], loss_one=loss()),
            r'model.teacher.1.checkpoint: missing',
        ),
        (
            dict(teacher=[dict(TWO[0], weight=-1.0)], loss_one=loss()),
            'weight: -1.0; set a finite number > 0',
        ),
        (
            dict(teacher=TWO, loss_one=loss(signal='feats')),
            "listens to 2 of the teachers.*'feats' of different models",
        ),
        (
            dict(teacher=tiny_cls.classifier(num_classes=7), loss_one=loss()),
            'the student has 5 classes and the teacher 7',
        ),
        (dict(loss_one=loss(signal='backbone')), None),
    ],
)
def test_bad_input_is_named(config, message):
    cfg = Config(dict(model=tiny_cls.distiller(**copy.deepcopy(config)))).model
    if message:
        with pytest.raises(ValueError, match=message):
            MODELS.build(cfg)
        return
    model = tiny_cls.build(cfg)
    with pytest.raises(ValueError, match='loss_one.*not one tensor of logits'):
        step(model)


def test_classes_of_the_teacher_are_compared(tmp_path):
    model = tiny_cls.distiller()
    runner = tiny_cls.runner(
        model,
        tmp_path,
        custom_hooks=[
            dict(type='luminet_mm.TeacherCheckHook', evaluate=False)
        ],
    )
    runner.model.teacher.classes = tuple(reversed(tiny_cls.CLASSES))
    with pytest.raises(ValueError, match="class 0 is 'five' for the teacher"):
        runner.train()


def test_each_loss_hears_its_own_teacher():
    """Two teachers for two losses are the same as two distillers."""
    teachers = [
        dict(config=dict(model=tiny_cls.classifier(width=w)), checkpoint=None)
        for w in (6, 12)
    ]
    both = tiny_cls.build(
        tiny_cls.distiller(
            teacher=teachers,
            loss_one=loss('KDLoss', teachers=[0]),
            loss_two=loss('PKTLoss', signal='feats', teachers=[1]),
            loss_mean=loss('KDLoss'),
        )
    )
    losses, _ = step(both)
    batch = tiny_cls.prepared(both)
    inputs = batch['inputs']
    student = copy.deepcopy(both).train()
    with torch.no_grad():
        feats = student.head.pre_logits(student.extract_feat(inputs))
        ours = student.head.fc(feats)
        theirs = [each.model.extract_feat(inputs) for each in both.teachers]
    logits = [each.model.head(x) for each, x in zip(both.teachers, theirs)]
    torch.testing.assert_close(
        losses['loss_one'], kd_loss(ours, logits[0], tau=1.0)
    )
    torch.testing.assert_close(
        losses['loss_mean'], kd_loss(ours, sum(logits) / 2, tau=1.0)
    )
    wide = both.teachers[1].model.head.pre_logits(theirs[1])
    torch.testing.assert_close(losses['loss_two'], pkt_loss(feats, wide))


def test_a_teacher_that_nobody_hears_does_not_run(monkeypatch):
    model = tiny_cls.build(
        tiny_cls.distiller(teacher=TWO, loss_one=loss(teachers=[1]))
    )
    monkeypatch.setattr(model.teachers[0].model.backbone, 'forward', None)
    step(model)


@pytest.mark.parametrize('heard', [[], 0, [2], [0, 0], ['a']])
def test_bad_numbers_of_teachers_are_named(heard):
    cfg = tiny_cls.distiller(teacher=TWO, loss_one=loss(teachers=heard))
    with pytest.raises(ValueError, match='loss_one.teachers: .*of the 2 tea'):
        MODELS.build(Config(dict(model=cfg)).model)


@pytest.mark.parametrize('case', golden_cases('ensemble'))
def test_golden_ensemble(case):
    """Mean of the teachers' logits, and then the loss."""
    values = {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in case['inputs'].items()
    }
    student = values.pop('student_logits').requires_grad_()
    teacher = weighted_mean(list(values.values()), [1.0] * len(values))
    params = case['params']
    if params['base'] == 'kd':
        value = KDLoss(tau=params['temperature'])(student, teacher)
    else:
        value = LumiNetLoss(
            tau=params['temperature'],
            eps=params['eps'],
            loss_weight=params['alpha'] ** 2,
        )(student, teacher)
    assert_golden(value, student, case)


def test_labels_are_of_images():
    """A loss on maps has use for them; pixels of dense logits have none."""
    labels, maps = torch.arange(2), torch.zeros(2, 3, 4, 4)
    batch = DistillBatch(labels=labels, soft_labels=maps[:, :, 0, 0])
    for loss, value in (
        (CRDLoss(num_samples=2), (maps,)),
        (KDLoss(), labels[:, None]),
    ):
        assert loss.may_know(value, batch) is batch
    known = KDLoss().may_know(maps, batch)
    assert known.labels is None and known.soft_labels is None
