"""Names in a block `model`: types, options, what can be distilled."""

import copy

import pytest
import tiny
import tiny_cls
from mmdet.models import FasterRCNN, ResNet
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config

from luminet_mm.distillers import TwoStageDistiller
from luminet_mm.losses import KDLoss, LogitLoss
from luminet_mm.preflight import ConfigError, check_config
from luminet_mm.registry import MODELS


@pytest.fixture(scope='module')
def base():
    return tiny.distiller()


@pytest.fixture
def model(base):
    return copy.deepcopy(base)


def faults(model, scope='mmdet'):
    with pytest.raises(ConfigError) as error:
        check_config(Config(dict(model=model, default_scope=scope)))
    return [line[4:] for line in str(error.value).splitlines()[1:]]


def fault(model, scope='mmdet'):
    (line,) = faults(model, scope)
    return line


def test_what_is_right_passes(model):
    check_config(Config(dict(model=model, default_scope='mmdet')))
    check_config(
        Config(dict(model=tiny_cls.distiller(), default_scope='mmpretrain'))
    )


def test_types_may_be_classes(model):
    model.type = TwoStageDistiller
    model.backbone.type = ResNet
    model.teacher.config.model.type = FasterRCNN
    model.distill.loss_luminet = dict(type=KDLoss, signal='roi.cls_score')
    check_config(Config(dict(model=model, default_scope='mmdet')))
    model.backbone.dept = 18
    model.distill.loss_luminet.taw = 2.0
    one, two = faults(model)
    assert "model.backbone.dept: ResNet has no option 'dept'; did" in one
    assert "KDLoss has no option 'taw'; did you mean 'tau'?" in two


@pytest.mark.parametrize(
    'change, message',
    [
        (
            lambda m: m.update(type='luminet_mm.TwoStageDistiler'),
            "did you mean 'luminet_mm.TwoStageDistiller'?",
        ),
        (lambda m: m.update(type=5), 'model.type: 5 is not the name'),
        (lambda m: m.pop('type'), 'model.type: missing; name a model'),
        (
            lambda m: m.update(rpn_heads={}),
            "model.rpn_heads: TwoStageDistiller has no option 'rpn_heads'; "
            "did you mean 'rpn_head'?",
        ),
        (lambda m: m.pop('backbone'), 'model.backbone: missing; '),
        (
            lambda m: m.backbone.update(dept=50),
            "model.backbone.dept: ResNet has no option 'dept'; did you mean "
            "'depth'? It has depth, ",
        ),
        (
            lambda m: m.backbone.update(type='ResNett'),
            "'ResNett' is not a registered backbone; did you mean 'ResNet'?",
        ),
        (
            lambda m: m.roi_head.bbox_head.update(num_class=3),
            'model.roi_head.bbox_head.num_class: Shared2FCBBoxHead has no',
        ),
        (lambda m: m.update(neck=5), 'model.neck: 5 is not a block'),
        (
            lambda m: m.teacher.update(checkpiont='a.pth'),
            'model.teacher.checkpiont: FrozenTeacher has no option '
            "'checkpiont'; did you mean 'checkpoint'?",
        ),
        (lambda m: m.teacher.update(dtype='half'), 'model.teacher.dtype is'),
        (lambda m: m.teacher.update(config=5), '.config: 5 is not a config'),
        (lambda m: m.teacher.update(checkpoint=5), '5 is not the path or URL'),
        (lambda m: m.teacher.update(cache=5), '5 is not the path of a folder'),
        (lambda m: m.teacher.update(weight=True), 'weight: True; set'),
        (
            lambda m: m.teacher.config.model.backbone.update(dept=50),
            'model.teacher.config.model.backbone.dept: ResNet has no option',
        ),
        (
            lambda m: m.teacher.config.update(model=dict(type='Gone')),
            "model.teacher.config.model.type: 'Gone' is not a registered",
        ),
        (lambda m: m.update(teacher=True), 'True is not a block; add'),
        (lambda m: m.update(distill=['a']), "['a'] is not a block of losses"),
        (lambda m: m.update(distill=True), 'True is not a block of losses'),
        (
            lambda m: m.distill.loss_luminet.update(teachers=True),
            'model.distill.loss_luminet.teachers: True; list numbers',
        ),
        (
            lambda m: m.distill.loss_luminet.update(teachers=[[0]]),
            '.teachers: [[0]]; list numbers',
        ),
        *(
            (
                lambda m, value=value: m.distill.update(loss_x=value),
                f'model.distill.loss_x: {value!r} is not the config of a loss',
            )
            for value in (None, 5, True, [], [1], 'KDLoss')
        ),
    ],
)
def test_a_fault_is_one_line(model, change, message):
    change(model)
    assert message in fault(model)


def test_everything_is_in_one_list(model):
    model.distill.loss_luminet.taw = 2.0
    model.distill.loss_x = None
    model.teacher.cach = 'x'
    model.backbone.dept = 50
    model.rpn_heads = {}
    assert len(faults(model)) == 5


def test_a_loss_of_ones_own_names_its_own_options(model):
    @MODELS.register_module(force=True)
    class OwnLoss(LogitLoss):
        def __init__(self, *, sharpness=1.0, needed, **kwargs):
            super().__init__(**kwargs)

        def compute(self, student, teacher, row_weights, batch):
            return student.sum()

    loss = dict(type='luminet_mm.OwnLoss', signal='roi.cls_score')
    model.distill.loss_luminet = dict(loss, sharpnes=2, needed=1)
    line = fault(model)
    assert (
        "OwnLoss has no option 'sharpnes'; did you mean 'sharpness'?" in line
    )
    assert 'It has sharpness, needed, loss_weight, rows, background' in line
    model.distill.loss_luminet = loss
    assert '.needed: missing; OwnLoss needs it' in fault(model)
    model.distill.loss_luminet = dict(loss, needed=1, sync_stats=False)
    check_config(Config(dict(model=model, default_scope='mmdet')))


@pytest.mark.parametrize(
    'stock, part, what',
    [
        ('retinanet/retinanet_r50_fpn_1x_coco', 'bbox_head', 'RetinaNet'),
        ('detr/detr_r50_8xb2-150e_coco', 'bbox_head', 'a DETR'),
    ],
)
def test_a_student_of_another_kind_is_told_its_distiller(
    base, stock, part, what
):
    student = ConfigDict(get_config(f'mmdet::{stock}.py').model)
    student.update(
        type='luminet_mm.TwoStageDistiller',
        teacher=base.teacher,
        distill=base.distill,
    )
    (line,) = (x for x in faults(student) if x.startswith(f'model.{part}:'))
    assert 'TwoStageDistiller has no such part' in line and what in line
    assert (
        "Set model.type='luminet_mm.OneStageDistiller' or "
        "'luminet_mm.DETRDistiller'" in line
    )


def test_a_type_that_does_not_distil(model):
    model.type = 'FasterRCNN'
    one, two = faults(model)
    assert one.startswith('model.teacher: FasterRCNN does not read it. ')
    assert "model.type='luminet_mm.TwoStageDistiller'" in one
    assert two.startswith('model.distill: ')


def test_a_detector_given_to_a_classifiers_distiller(model):
    model.type = 'luminet_mm.ClassifierDistiller'
    lines = faults(model)
    assert any(
        line.startswith('model.roi_head: ClassifierDistiller has no such part')
        and 'a two-stage detector' in line
        for line in lines
    )
