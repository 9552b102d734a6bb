"""The small pair is that of the digits' configs, where nothing is fitted."""

from pathlib import Path

import pytest
from mmengine.config import Config

from luminet_mm.recipe import small
from luminet_mm.recipe.config_text import config_text
from luminet_mm.recipe.fitting import Fit

CONFIGS = Path(__file__).parents[2] / 'configs'
FIT = Fit((160, 160), [4], [1.0, 2.0], 8, 32, 50, [])


def read(tmp_path, name, **settings):
    path = tmp_path / f'{name}.py'
    path.write_text(config_text('A model.', settings))
    return Config.fromfile(path).model.to_dict()


@pytest.fixture
def student(tmp_path):
    model = small.detector_student(10, FIT, 'weights/a.pth')
    bases = small.DETECTOR_BASES
    return read(tmp_path, 'student', _base_=bases, model=model)


def test_the_student(student):
    path = CONFIGS / '_base_/models/frcnn_slim_fpn.py'
    ours = Config.fromfile(path).model.to_dict()
    student['backbone']['init_cfg'] = ours['backbone']['init_cfg']
    assert student == ours


def test_the_teacher(student, tmp_path):
    model = small.detector_teacher('weights/b.pth')
    teacher = read(tmp_path, 'teacher', _base_='student.py', model=model)
    ours = Config.fromfile(CONFIGS / 'frcnn_teacher_digits.py').model.to_dict()
    ours['train_cfg']['rcnn']['sampler']['num'] = 32  # of the boxes there
    teacher['backbone']['init_cfg'] = ours['backbone']['init_cfg']
    assert teacher == ours


def test_without_weights_it_starts_at_random(tmp_path):
    for make in (small.classifier_student, small.detector_student):
        args = (10, FIT, None) if 'detector' in make.__name__ else (10, None)
        assert make(*args)['backbone']['init_cfg'] is None


def test_the_classifier_has_the_detectors_backbone():
    ours = Config.fromfile(CONFIGS / 'pretrain/backbone_student_digits.py')
    model = small.classifier_student(10, None)
    assert model['backbone'].pop('init_cfg') is None
    assert Config(dict(model=model)).model == ours.model
