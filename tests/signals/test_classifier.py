"""Classifiers: names, a recorded pass, and what a teacher runs of itself."""

from types import SimpleNamespace

import pytest
import tiny_cls
import torch
from hooked import ran_in
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample
from signals.contract import FamilyContract
from torch import nn

from luminet_mm.losses import DistillBatch
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.signals.classifier import (
    SIDES,
    Classifier,
    ClassifierRecord,
)
from luminet_mm.signals.family import Question

FAMILY = Classifier()


@pytest.fixture(scope='module')
def models():
    return {
        kind: tiny_cls.build(tiny_cls.classifier(kind)).eval()
        for kind in ('resnet', 'vit', 'deit')
    }


def find(model, *names):
    return [FAMILY.find(model, name, 'student') for name in names]


class Other(nn.Sequential):
    """A model of another library: images in, logits out."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))

    def forward(self, inputs, mode='tensor'):
        return super().forward(inputs)


def test_what_a_classifier_publishes(models):
    assert FAMILY.names(models['resnet']) == [
        'backbone',
        'neck',
        'feats',
        'logits',
    ]
    assert FAMILY.names(models['vit']) == ['backbone', 'feats', 'logits']
    assert FAMILY.names(Other()) == ['logits']


@pytest.mark.parametrize(
    ('name', 'part', 'path'),
    [
        ('backbone', 'backbone', ''),
        ('feats', 'head', ''),
        ('logits', 'head', ''),
        ('backbone.layer3', 'backbone', 'backbone.layer3'),
        ('backbone.layer3.preact', 'backbone', 'backbone.layer3.preact'),
        ('head.fc', 'head', 'head.fc'),
    ],
)
def test_a_name_leads_to_its_place(models, name, part, path):
    (signal,) = find(models['resnet'], name)
    assert (signal.name, signal.part, signal.path) == (name, part, path)


@pytest.mark.parametrize('name', ['layer3', 'distill', '', 'backbone.layer9'])
def test_other_names_are_refused(models, name):
    with pytest.raises(ValueError, match='has no signal'):
        find(models['resnet'], name)


def test_what_makes_probabilities_of_logits(models):
    model = models['resnet']
    assert FAMILY.activation(model, find(model, 'logits')) == 'softmax'
    assert FAMILY.activation(model, find(model, 'feats')) == ''
    assert FAMILY.num_classes(model, []) == 5
    several = tiny_cls.classifier()
    several['head'] = dict(
        type='mmpretrain.MultiLabelLinearClsHead',
        num_classes=5,
        in_channels=64,
    )
    several = tiny_cls.build(several)
    assert FAMILY.activation(several, find(several, 'logits')) == 'sigmoid'
    assert FAMILY.num_classes(Other(), []) is None


@pytest.mark.parametrize('kind', ['resnet', 'vit', 'deit'])
def test_a_model_says_ahead_what_its_pass_says(models, kind):
    model = models[kind]
    names = FAMILY.names(model)
    if kind == 'resnet':
        names += ['backbone.layer2', 'backbone.layer2.preact', 'head.fc']
    signals = find(model, *names)
    data = tiny_cls.prepared(model)
    images, samples = data['inputs'], data['data_samples']
    with FAMILY.record(model, signals, images, samples) as record:
        model.loss(images, samples)
    questions = [Question([each], [each]) for each in signals]
    ahead = FAMILY.ahead(model, images, signals)
    said = FAMILY.answer(model, ahead, questions, record)
    for signal, value in zip(signals, said, strict=True):
        torch.testing.assert_close(value, record.read(signal), msg=signal.name)
    both = Question(signals[-2:], signals[-2:])
    (pair,) = FAMILY.answer(model, ahead, [both], record)
    assert isinstance(pair, tuple) and len(pair) == 2
    assert not [m for m in model.modules() if m._forward_hooks]
    assert 'pre_logits' not in vars(model.head)


@pytest.mark.parametrize(
    ('asked', 'parts'),
    [
        (['backbone'], ['backbone']),
        (['backbone.layer2'], ['backbone']),
        (['neck'], ['backbone', 'neck']),
        (['feats'], ['backbone', 'neck', 'head']),
        (['logits', 'backbone'], ['backbone', 'neck', 'head']),
    ],
)
def test_only_what_is_asked_for_runs(models, asked, parts):
    model, ran = models['resnet'], []
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda *_, name=name: ran.append(name)
        )
        for name in ('backbone', 'neck', 'head')
    ]
    ahead = FAMILY.ahead(model, torch.rand(2, 3, 32, 32), find(model, *asked))
    for handle in handles:
        handle.remove()
    assert ran == parts
    assert set(ahead) == set(asked)


def test_a_model_of_another_library_gives_its_logits():
    model = Other()
    logits = find(model, 'logits')
    images = torch.rand(2, 3, 32, 32)
    (value,) = FAMILY.dry(model, [Question(logits, logits)], images)
    torch.testing.assert_close(value, model(images))


def sample(label=None, score=None, **known):
    one = DataSample(metainfo=known)
    if label is not None:
        one.set_gt_label(label)
    if score is not None:
        one.set_gt_score(torch.tensor(score))
    return one


def known(samples, to_onehot=False, augments=None) -> DistillBatch:
    preprocessor = SimpleNamespace(
        to_onehot=to_onehot, batch_augments=augments
    )
    model = SimpleNamespace(data_preprocessor=preprocessor)
    return ClassifierRecord(model, samples).batch([])


def test_labels_are_hard_unless_they_are_mixed():
    plain = known([sample(3), sample(0)])
    assert plain.labels.tolist() == [3, 0] and plain.soft_labels is None
    assert plain.sample_ids is None
    # one-hot of a loss's making, and annotations that are soft
    scored = [sample(1, [0.0, 1.0]), sample(0, [1.0, 0.0])]
    assert known(scored, to_onehot=True).labels.tolist() == [1, 0]
    soft = known(scored)
    assert soft.labels is None
    assert soft.soft_labels.tolist() == [[0, 1], [1, 0]]
    mixed = known(scored, to_onehot=True, augments=object())
    assert mixed.labels is None and mixed.soft_labels is not None
    assert known([sample([0, 1])]).labels is None


def test_images_keep_their_number_in_the_data():
    batch = known([sample(0, sample_idx=7), sample(1, sample_idx=2)])
    assert batch.sample_ids.tolist() == [7, 2]


def test_sizes_of_dry_runs_begin_with_the_models_own(models):
    assert FAMILY.sizes([models['resnet']])[0] == (SIDES[0], SIDES[0])
    assert FAMILY.sizes([models['resnet'], models['vit']])[0] == (32, 32)
    assert {side for side, _ in FAMILY.sizes([models['vit']])} >= set(SIDES)


@pytest.mark.parametrize(
    ('shapes', 'sizes'),
    [
        ([(32, 20), (24, 28)], [(32, 20), (24, 28)]),  # padded to the largest
        ([(300, 200), (24, 28)], [(32, 28), (32, 28)]),  # as the files were
    ],
)
def test_sizes_count_where_a_batch_was_padded(shapes, sizes):
    model = SimpleNamespace(data_preprocessor=nn.Identity())
    samples = [SimpleNamespace(img_shape=shape) for shape in shapes]
    images = torch.zeros(2, 3, 32, 28)
    assert FAMILY.image_sizes(model, images, samples) == sizes


def test_a_heads_loss_has_a_name_that_is_logged():
    assert FAMILY.own_losses(dict(loss=1, acc=2)) == dict(loss_cls=1, acc=2)
    assert FAMILY.own_losses(dict(loss_a=1)) == dict(loss_a=1)


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
    losses, _ = tiny_cls.step(model)
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


def test_a_classifiers_logits_need_all_of_it_and_its_maps_no_head():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(
            tiny_cls.distiller(
                loss_kd=dict(type='luminet_mm.KDLoss', signal='logits'),
                loss_at=dict(type='luminet_mm.ATLoss', signal='backbone'),
            )
        )
        model.fit_teacher(0)  # asks for all, once
        data = tiny_cls.prepared(model)
        found = []
        for off in ('loss_at', 'loss_kd'):
            for name, loss in model.distill.items():
                loss.schedule_factor = float(name != off)
            ran = ran_in(
                model.teacher.model,
                lambda: model.loss(data['inputs'], data['data_samples']),
            )
            found.append({name.split('.')[0] for name in ran})
    assert found == [{'backbone', 'neck', 'head'}, {'backbone'}]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('logit', "student .* no signal 'logit'. Did you mean 'logits'"),
        ('distill', "no signal 'distill'"),
        ('distill.loss_x', "no signal 'distill.loss_x'"),
        ('data_preprocessor', "no signal 'data_preprocessor'"),
        ('', "no signal ''"),
        ('head.fcs', "no signal 'head.fcs'. Did you mean 'head.fc'"),
    ],
)
def test_a_name_that_it_does_not_have(models, name, message):
    with pytest.raises(ValueError, match=message):
        Classifier().find(models['resnet'], name, 'student')


def test_a_teacher_of_other_classes_is_refused():
    cfg = tiny_cls.distiller(teacher=tiny_cls.classifier(num_classes=7))
    with pytest.raises(ValueError, match=r'5 classes and .*\b7'):
        MODELS.build(Config(dict(model=cfg)).model)


def test_several_logits_are_not_counted(models):
    """Losses such as FCFD's look at the classes themselves."""
    family, model = Classifier(), models['resnet']
    names = ['backbone.layer2', 'logits']
    signals = [family.find(model, name, 'student') for name in names]
    seven = tiny_cls.build(tiny_cls.classifier(num_classes=7))
    family.check('loss_x', model, signals, seven, signals)
    with pytest.raises(ValueError, match='5 classes'):
        family.check('loss_x', model, signals[1:], seven, signals[1:])


def test_a_head_that_takes_a_teachers_classifier_gets_it():
    seen = []
    model = nn.Module()
    model.head = ReusedClsHead(num_classes=5, in_channels=4)
    model.head.reuse = seen.append
    Classifier().introduce(model, ['a teacher'])
    assert seen == [['a teacher']]


class TestClassifierContract(FamilyContract):
    family = FAMILY
    kinds = ('resnet', 'vit')

    def config(self, kind, **options):
        return tiny_cls.classifier(kind, **options)

    def batch(self, kind, **options):
        return tiny_cls.batch(**options)
