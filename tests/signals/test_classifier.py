"""Classifiers: names, a recorded pass, and what a teacher runs of itself."""

from types import SimpleNamespace

import pytest
import tiny_cls
import torch
from mmpretrain.structures import DataSample
from torch import nn

from luminet_mm.losses import DistillBatch
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
