"""How a teacher sees the student's images."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from self_loss import gaps, self_distiller

from luminet_mm.teachers.fingerprints import teacher_part
from luminet_mm.teachers.inputs import _positions


@pytest.fixture
def scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def bare(model):
    """A stock model's block as MMPretrain's configs have it."""
    model = copy.deepcopy(model)
    del model['data_preprocessor']
    return model


@pytest.mark.parametrize('whole', [True, False])
def test_a_classifiers_block_alone_sees_what_the_student_sees(
    scope, whole, monkeypatch
):
    said = []
    monkeypatch.setattr(
        'luminet_mm.teachers.frozen.print_log',
        lambda text, *args: said.append(text),
    )
    config = tiny_cls.distiller()
    block = bare(config['teacher']['config']['model'])
    config['teacher']['config'] = dict(model=block) if whole else block
    model = tiny_cls.build(config)
    data = tiny_cls.prepared(model)
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    assert seen is data['inputs']
    # TeacherCheckHook scores it on raw images
    raw = model.teacher.model.data_preprocessor(tiny_cls.batch(), False)
    assert torch.equal(raw['inputs'], data['inputs'])
    assert any('has no data_preprocessor' in text for text in said)


def test_a_detectors_block_without_preprocessor():
    config = tiny.distiller()
    del config.teacher['config']['model']['data_preprocessor']
    model = tiny.build(config)
    data = tiny.prepared(model)
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    assert seen is data['inputs']


def test_raw_images_on_purpose(scope):
    config = tiny_cls.distiller()
    teacher = config['teacher']['config']['model']
    teacher['data_preprocessor'] = dict(to_rgb=True)
    model = tiny_cls.build(config)
    raw = tiny_cls.batch()
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    wanted = torch.stack(raw['inputs']).flip(1).float()
    torch.testing.assert_close(seen, wanted, rtol=0, atol=1e-3)


def test_a_file_that_does_not_say_it_is_refused(scope, tmp_path):
    path = tmp_path / 'teacher.py'
    Config(dict(model=bare(tiny_cls.classifier()))).dump(path)
    config = tiny_cls.distiller()
    config['teacher']['config'] = str(path)
    with pytest.raises(ValueError, match='has no data_preprocessor, so'):
        tiny_cls.build(config)
    # both see raw images: nothing to settle
    config['data_preprocessor'] = dict(num_classes=5)
    tiny_cls.build(config)


def test_a_cache_cannot_take_the_students(tmp_path):
    """It would not say of whom: another student may have others."""
    block = dict(
        config=bare(tiny_cls.classifier()), checkpoint='https://x.org/a.pth'
    )
    with pytest.raises(ValueError, match='so a cache cannot say how'):
        teacher_part(block)


def test_another_pad_value(tmp_path):
    """What is beside an image is as its own preprocessor has it."""
    model = self_distiller(
        tiny.detector(), tmp_path, gaps('backbone'), pad_value=3.0
    )
    raw = tiny.batch(size=72)
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    wanted = model.teacher.model.data_preprocessor(raw, True)['inputs']
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-3)


def test_equal_preprocessors_of_other_pad_values():
    config = tiny.distiller()
    theirs = config.teacher['config']['model'].data_preprocessor
    theirs.update(pad_value=3.0, pad_size_divisor=64)
    model = tiny.build(config)
    raw = tiny.batch(size=72)
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    wanted = model.teacher.model.data_preprocessor(raw, True)['inputs']
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ('length', 'full', 'part', 'positions'),
    [
        (32, 128, 96, 24),
        (2, 128, 96, 2),  # a stride of 64, rounded up
        (2, 96, 64, 1),
        (1, 128, 96, 1),
        (9, 126, 56, 4),  # patches of 14
        (128, 128, 96, 96),
        (256, 128, 96, 192),
    ],
)
def test_positions_of_an_area(length, full, part, positions):
    assert _positions(length, full, part) == positions
