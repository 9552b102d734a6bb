"""NaN is traced to an image, to weights, or to the training."""

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.losses.base.finite import FiniteCheck, NotFiniteInputError

NAN = float('nan')


@pytest.fixture(autouse=True)
def classifiers_scope(request):
    """As in a run; one test is of a detector."""
    scope = 'mmdet' if 'detector' in request.node.name else 'mmpretrain'
    with DefaultScope.overwrite_default_scope(scope):
        yield


def classifier():
    model = tiny_cls.build(tiny_cls.distiller())
    data = tiny_cls.prepared(model)
    for i, sample in enumerate(data['data_samples']):
        sample.set_metainfo(dict(img_path=f'train/{i}.png'))
    return model, data


def step(model, data):
    with pytest.raises(NotFiniteInputError) as error:
        model(**data, mode='loss')
    return str(error.value)


@pytest.mark.parametrize('bad', [NAN, float('inf')])
def test_an_image_is_named_by_its_file(bad):
    model, data = classifier()
    data['inputs'][3, 0, 1, 1] = bad
    text = step(model, data)
    assert text.startswith('model.distill.loss_luminet (logits): the images ')
    assert 'train/3.png.' in text and 'train/2.png' not in text
    assert 'teacher' not in text and 'checkpoint' not in text


def test_an_image_without_a_file_is_counted():
    model, data = classifier()
    data['inputs'][5] = NAN
    for sample in data['data_samples']:
        sample.set_metainfo(dict(img_path=None))
    assert 'image 5 of the batch' in step(model, data)


def test_a_detectors_image_is_named():
    model = tiny.build(tiny.distiller())
    data = tiny.prepared(model)
    data['data_samples'][1].set_metainfo(dict(img_path='train/b.png'))
    data['inputs'][1, 0, 3, 3] = NAN
    assert 'hold NaN or inf: train/b.png.' in step(model, data)


@pytest.mark.parametrize('whose', ['teacher', 'student'])
def test_weights_that_became_nan_are_named(whose):
    model, data = classifier()
    model(**data, mode='loss')
    network = model.teacher.model if whose == 'teacher' else model
    with torch.no_grad():
        network.head.fc.bias[0] = NAN
    text = step(model, data)
    assert f'weights of the {whose}' in text and 'head.fc.bias' in text
    assert ('checkpoint is broken' in text) == (whose == 'teacher')
    assert ('has diverged' in text) == (whose == 'student')


def test_on_cuda_the_images_of_the_step_before_are_named(monkeypatch):
    """The path for CUDA, with the copy to pinned memory taken out."""

    class Event:
        def synchronize(self):
            pass

    monkeypatch.setattr(
        FiniteCheck,
        '_start_copy',
        staticmethod(lambda flags: (flags, Event())),
    )
    monkeypatch.setattr(FiniteCheck, '_deferred', staticmethod(lambda _: True))
    model, data = classifier()
    data['inputs'][3, 0, 1, 1] = NAN
    model(**data, mode='loss')
    with torch.no_grad():  # what the step makes of the student
        model.head.fc.bias[0] = NAN
    later = tiny_cls.prepared(model)
    for sample in later['data_samples']:
        sample.set_metainfo(dict(img_path='train/later.png'))
    text = step(model, later)
    assert 'the likely cause is an image' in text
    assert 'train/3.png' in text and 'later' not in text
    assert 'diverged' not in text


def broken_teacher(tmp_path, key, value, **options):
    """A classifier's distiller whose teacher's file holds a wrong value."""
    config = tiny_cls.classifier(width=12)
    state = MODELS.build(Config(dict(model=config)).model).state_dict()
    state[key].view(-1)[0] = value
    torch.save(dict(state_dict=state), tmp_path / 'broken.pth')
    cfg = tiny_cls.distiller()
    cfg['teacher'] = dict(
        config=dict(model=config),
        checkpoint=str(tmp_path / 'broken.pth'),
        **options,
    )
    return cfg


@pytest.mark.parametrize(
    'key', ['backbone.conv1.weight', 'backbone.bn1.running_var']
)
@pytest.mark.parametrize('options', [{}, dict(dtype='bf16')])
def test_a_teachers_file_of_nan_is_refused_when_built(tmp_path, key, options):
    with pytest.raises(ValueError) as error:
        tiny_cls.build(broken_teacher(tmp_path, key, NAN, **options))
    assert 'teacher.checkpoint: 1 of its weights' in str(error.value)
    assert key in str(error.value) and 'dtype' not in str(error.value)


def test_answers_of_nan_with_good_weights(tmp_path):
    negative = broken_teacher(tmp_path, 'backbone.bn1.running_var', -9.0)
    with pytest.raises(ValueError, match='though its weights do not'):
        tiny_cls.build(negative)


def test_a_dtype_that_overflows_is_said_so(tmp_path):
    cfg = broken_teacher(tmp_path, 'backbone.conv1.weight', 1e6, dtype='fp16')
    with pytest.raises(ValueError, match="overflows.*'bf16' or None"):
        tiny_cls.build(cfg)
