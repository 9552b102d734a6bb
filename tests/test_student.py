"""A student of the user's own class is neither lost nor replaced."""

import pytest
import tiny
import tiny_cls
from mmdet.models.detectors import (
    FasterRCNN,
    HybridTaskCascade,
    MaskRCNN,
    RetinaNet,
    TridentFasterRCNN,
    TwoStageDetector,
)
from mmdet.registry import MODELS
from mmengine.config import Config

from luminet_mm.distillers import ClassifierDistiller, TwoStageDistiller
from luminet_mm.stock import stock_config, stock_config_text
from luminet_mm.student import (
    built_class,
    find_model,
    lost_by,
    registered_name,
    student_of,
)


@MODELS.register_module(force=True)
class OwnRCNN(FasterRCNN):
    def predict(self, *args, **kwargs):
        return super().predict(*args, **kwargs)


@MODELS.register_module(force=True)
class DistilledOwnRCNN(TwoStageDistiller, OwnRCNN):
    def loss(self, *args, **kwargs):
        return super().loss(*args, **kwargs)


@MODELS.register_module(force=True)
class DistilledMask(TwoStageDistiller, MaskRCNN):
    pass


@MODELS.register_module(force=True)
class Predicts(TwoStageDistiller, FasterRCNN):
    def predict(self, *args, **kwargs):
        return super().predict(*args, **kwargs)


class Helper:
    def extract_feat(self, batch_inputs):
        return super().extract_feat(batch_inputs)


@MODELS.register_module(force=True)
class WithHelper(TwoStageDistiller, Helper, FasterRCNN):
    pass


class NoName(FasterRCNN):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


def config(kind):
    return Config(
        dict(default_scope='mmdet', model=dict(tiny.distiller(), type=kind))
    )


@pytest.mark.parametrize(
    'kind, stock',
    [
        ('DistilledOwnRCNN', 'mmdet.OwnRCNN'),
        ('mmdet.DistilledOwnRCNN', 'mmdet.OwnRCNN'),
        (DistilledOwnRCNN, 'mmdet.OwnRCNN'),
        ('DistilledMask', 'mmdet.MaskRCNN'),
        ('luminet_mm.TwoStageDistiller', 'mmdet.TwoStageDetector'),
        (TwoStageDistiller, 'mmdet.TwoStageDetector'),
    ],
)
def test_the_class_that_was_trained_predicts(kind, stock):
    cfg = stock_config(config(kind))
    assert cfg.model.type == stock
    assert 'teacher' not in cfg.model
    if kind is not DistilledOwnRCNN:  # a text names no module to import
        text = stock_config_text(config(kind).pretty_text)
        assert Config.fromstring(text, '.py').model == cfg.model


def test_the_trained_and_the_tested_model_are_one():
    cfg = config('DistilledOwnRCNN')
    trained = tiny.build(cfg.model)
    tested = tiny.build(stock_config(cfg).model)
    assert type(tested) is OwnRCNN and isinstance(trained, OwnRCNN)
    assert list(tested.state_dict()) == list(trained.state_dict())


@pytest.mark.parametrize(
    'kind, said',
    [
        ('Predicts', 'lacks the predict of Predicts'),
        ('WithHelper', 'its student begins with Helper, which is not a model'),
        ('Gone', "model.type 'Gone' is not in a registry"),
    ],
)
def test_what_the_student_alone_cannot_do_is_refused(kind, said):
    with pytest.raises(ValueError, match=said):
        stock_config(config(kind))


def test_a_class_without_a_name():
    """One of a module is found by its path, one of a function is not."""
    assert registered_name(OwnRCNN) == 'mmdet.OwnRCNN'
    assert registered_name(type('Inner', (FasterRCNN,), {})) is None
    kind = type('Hidden', (TwoStageDistiller, type('In', (NoName,), {})), {})
    MODELS.register_module(module=kind, force=True)
    with pytest.raises(ValueError, match='its student In is not registered'):
        stock_config(config('Hidden'))
    # a config in pure Python has the class itself
    assert stock_config(config(kind)).model.type is student_of(kind)


@pytest.mark.parametrize(
    'distiller, student, lost',
    [
        (TwoStageDistiller, FasterRCNN, None),
        (TwoStageDistiller, MaskRCNN, None),
        (TwoStageDistiller, HybridTaskCascade, None),
        (TwoStageDistiller, TwoStageDetector, None),
        (TwoStageDistiller, RetinaNet, None),  # another family's
        (TwoStageDistiller, TridentFasterRCNN, 'predict'),
        (TwoStageDistiller, OwnRCNN, 'predict'),
        (TwoStageDistiller, NoName, '__init__'),
        (DistilledOwnRCNN, OwnRCNN, None),
        (DistilledOwnRCNN, FasterRCNN, None),
        (DistilledMask, OwnRCNN, 'predict'),
    ],
)
def test_what_is_lost_by_another_type(distiller, student, lost):
    found = lost_by(distiller, student)
    assert (lost in found[1]) if lost else found is None


def test_classifiers():
    student = find_model('mmpretrain.ImageClassifier')
    assert student_of(ClassifierDistiller) is student
    own = type('Own', (student,), dict(predict=lambda self: 0))
    assert lost_by(ClassifierDistiller, own)[1] == ['predict']
    cfg = Config(dict(model=tiny_cls.distiller()))
    assert stock_config(cfg).model.type == 'mmpretrain.ImageClassifier'


def test_a_distiller_may_choose_its_student_by_the_block():
    name = 'luminet_mm.DETRDistiller'
    for head, student in (('DINOHead', 'DINO'), ('DETRHead', 'DETR')):
        cls = built_class(name, dict(bbox_head=dict(type=head)))
        assert student_of(cls).__name__ == student
    assert built_class(name, {}) is find_model(name)
    assert built_class('mmdet.DINO', {}) is find_model('mmdet.DINO')
    assert built_class('mmdet.Nothing', {}) is None
