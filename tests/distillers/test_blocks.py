"""The blocks teacher and distill: what they lack, and what is built."""

import re

import pytest
import tiny
import tiny_cls
import tiny_dense
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain import ImageClassificationInferencer

from luminet_mm.distillers.blocks import (
    block_problems,
    build_loss,
    build_teachers,
    compares_classes,
)
from luminet_mm.distillers.caches import registered
from luminet_mm.losses import (
    FCFDLoss,
    FitNetLoss,
    KDLoss,
    PKTLoss,
    SDDLoss,
    USKDLoss,
)
from luminet_mm.preflight.distill import distill_problems

TEACHER = dict(config='a.py', checkpoint='a.pth')
KD = dict(type='luminet_mm.KDLoss', signal='logits')
USKD = dict(type='luminet_mm.USKDLoss', student=['logits', 'backbone.layer3'])


@pytest.mark.parametrize(
    ('teacher', 'distill'),
    [
        (TEACHER, dict(loss_kd=KD)),
        ([TEACHER, dict(TEACHER, weight=2)], dict(loss_kd=KD)),
        ([TEACHER] * 3, dict(loss_kd=dict(KD, teachers=[2, 0]))),
        (None, dict(loss_uskd=USKD)),
        (dict(TEACHER, cache='folder'), dict(loss_kd=KD, loss_uskd=USKD)),
    ],
)
def test_whole_blocks_lack_nothing(teacher, distill):
    assert block_problems(teacher, distill) == []


@pytest.mark.parametrize(
    ('distiller', 'example'),
    [
        ('TwoStageDistiller', "LumiNetLoss', signal='roi.cls_score'"),
        ('ClassifierDistiller', "LumiNetLoss', signal='logits'"),
        ('OneStageDistiller', "BCKDLoss', signal=.'cls_score', 'bbox_pred'."),
        ('DETRDistiller', "DETRDistillLoss', signal=.'cls_score', 'bbox_p"),
    ],
)
def test_a_missing_block_has_an_example_of_its_kind(distiller, example):
    cfg = Config(dict(model=dict(type=f'luminet_mm.{distiller}')))
    cfg.model.teacher = TEACHER
    if 'DETR' in distiller:
        cfg.model.bbox_head = dict(type='DINOHead')
    with pytest.raises(ValueError, match=f'as in distill=.*{example}'):
        MODELS.build(cfg.model)
    (line,) = [x for x in distill_problems(cfg) if 'at least one' in x]
    assert re.search(example, line)


@pytest.mark.parametrize(
    ('teacher', 'distill', 'message'),
    [
        (None, dict(loss_kd=KD), 'model.teacher: missing; add teacher=dict'),
        ('a.py', dict(loss_kd=KD), "model.teacher: 'a.py' is not a block"),
        ([TEACHER, {}], dict(loss_kd=KD), 'model.teacher.1: missing'),
        (dict(config='a.py'), dict(loss_kd=KD), 'teacher.checkpoint: missing'),
        (dict(TEACHER, weight=0), dict(loss_kd=KD), 'teacher.weight: 0; set'),
        (dict(TEACHER, weight=True), dict(loss_kd=KD), 'weight: True; set'),
        (TEACHER, None, 'model.distill: missing; name at least one loss'),
        (TEACHER, [KD], r'model\.distill: \[.* is not a block of losses'),
        (TEACHER, dict(kd=KD), 'model.distill.kd: .* rename it to loss_kd'),
        (TEACHER, dict(loss_kd=None), 'loss_kd: None is not the config of a'),
        (
            [TEACHER] * 2,
            dict(loss_kd=dict(KD, teachers=[0, 2])),
            r'loss_kd\.teachers: \[0, 2\]; list numbers of the 2 teachers',
        ),
        (TEACHER, dict(loss_kd=dict(KD, teachers=[0, 0])), 'teachers: .0, 0'),
        (TEACHER, dict(loss_kd=dict(KD, teachers=[])), 'teachers: ..; list'),
        (TEACHER, dict(loss_kd=dict(KD, teachers=0)), 'teachers: 0; list'),
        (
            TEACHER,
            dict(loss_kd=dict(KD, teachers=['a'])),
            r"teachers: \['a'\]; list",
        ),
        (
            dict(TEACHER, cache='folder'),
            dict(loss_a=dict(type='luminet_mm.ATLoss', signal='backbone')),
            r'loss_a: ATLoss .*model\.teacher has a cache',
        ),
        (
            dict(TEACHER, cache='folder', boxes_per_step=3),
            dict(loss_kd=KD),
            r'model\.teacher\.boxes_per_step: 3, but only two-stage det',
        ),
        (
            dict(TEACHER, cache='folder'),
            dict(loss_kd=dict(KD, signal='head.fc')),
            "loss_kd: it reads 'head.fc' of the teacher, .* has a cache",
        ),
    ],
)
def test_each_fault_is_a_line_with_its_key(teacher, distill, message):
    (line,) = block_problems(teacher, distill)
    with pytest.raises(ValueError, match=message):
        raise ValueError(line)


def test_all_faults_are_told_at_once():
    lines = block_problems(dict(weight=-1), dict(kd=KD, loss_x=3))
    assert len(lines) == 5


def test_classes_are_looked_up():
    assert registered(KD) is KDLoss
    assert registered(dict(type=USKDLoss)) is USKDLoss
    for kind in ('NoSuchLoss', None, 3, 'no.such.Module'):
        assert registered(dict(type=kind)) is None


def test_a_loss_knows_its_key_and_its_signals():
    entry = build_loss('loss_kd', dict(KD, tau=2.0, teachers=[1]))
    assert type(entry.loss) is KDLoss and entry.loss.tau == 2
    assert entry.loss.name == 'model.distill.loss_kd (logits)'
    assert entry.student == entry.teacher == ('logits',)
    assert entry.heard == [1]
    pair = dict(type='luminet_mm.FitNetLoss', student=['a', 'b'], teacher='c')
    entry = build_loss('loss_x', pair)
    assert entry.loss.name == 'model.distill.loss_x (a b, c)'
    assert (entry.student, entry.teacher) == (('a', 'b'), ('c',))
    assert entry.heard is None
    assert build_loss('loss_uskd', USKD).teacher == ()


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='luminet_mm.KDLoss'), 'say what it compares'),
        *[
            (dict(KD, signal=signal), 'say what it compares')
            for signal in ([], [''], None, 5)
        ],
        (dict(KD, signal=['logits', 3]), 'say what it compares'),
        (dict(type='luminet_mm.KDLoss', student='a'), 'say what it compares'),
        (dict(KD, tau=0), 'KDLoss: tau is 0; set a finite number > 0'),
        (dict(KD, no_such=1), 'no_such'),
        (dict(KD, type='NoSuchLoss'), 'NoSuchLoss'),
        (dict(KD, type='mmdet.L1Loss'), 'L1Loss is not a distillation loss'),
    ],
)
def test_a_loss_that_cannot_be_built_is_named(config, message):
    with pytest.raises(
        ValueError, match=f'^model.distill.loss_x: .*{message}'
    ):
        build_loss('loss_x', config)


def test_teachers_are_built_with_their_weights(tmp_path):
    block = dict(config=dict(model=tiny_cls.classifier()), checkpoint=None)
    with DefaultScope.overwrite_default_scope('mmdet'):  # a student's
        teachers = build_teachers(
            [block, dict(block, weight=3, cache=None)], 'mmpretrain'
        )
    assert len(teachers) == 2 and teachers.weights == [1.0, 3.0]
    assert teachers[0].model.head.num_classes == 5
    assert len(build_teachers(None, 'mmpretrain')) == 0
    gone = dict(block, checkpoint=str(tmp_path / 'gone.pth'))
    with pytest.raises(FileNotFoundError, match='(?s)gone.pth.*publish.py'):
        build_teachers(gone, 'mmpretrain')


@pytest.mark.parametrize(
    ('loss', 'names', 'classes'),
    [
        (KDLoss(), ('logits',), True),
        (KDLoss(), ('roi.0.cls_score',), True),
        (KDLoss(), ('rpn.cls_score',), False),
        (KDLoss(), ('neck',), False),
        (PKTLoss(), ('feats',), False),
        (PKTLoss(), ('roi.bbox_pred',), True),
        (FitNetLoss(), ('backbone.layer3',), False),
        (FCFDLoss(), ('backbone.layer3', 'logits'), True),
        (SDDLoss(), ('backbone',), True),
        (USKDLoss(), ('logits',), False),
    ],
)
def test_which_losses_compare_class_by_class(loss, names, classes):
    assert compares_classes(loss, names, names) is classes


LOSS = dict(type='luminet_mm.LumiNetLoss', signal='logits')


RANDOM = dict(config=dict(model=tiny_cls.classifier(width=6)), checkpoint=None)


def test_a_loss_that_listens_to_another_may_read_features():
    teachers = [dict(TEACHER, cache='logits'), TEACHER]
    feats = dict(type='luminet_mm.PKDLoss', signal='feats')
    distill = dict(loss_kd=LOSS, loss_fit=dict(feats, teachers=[1]))
    assert block_problems(teachers, distill) == []


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(teacher=[]), 'model.teacher: missing'),
        (dict(distill=dict(luminet=LOSS)), 'luminet: the key must start'),
        (dict(distill={}), 'model.distill: missing'),
        (
            dict(teacher=[RANDOM] * 2, distill=dict(loss_x=dict(teachers=0))),
            'loss_x.teachers: .*of the 2 teachers',
        ),
    ],
)
def test_a_distiller_says_it_before_anything_is_built(config, message):
    model = Config(dict(model=tiny_cls.distiller() | config)).model
    model.backbone.type = 'NoSuchBackbone'
    with pytest.raises(ValueError, match=message):
        MODELS.build(model)


@pytest.mark.parametrize('what', ['config', 'checkpoint'])
def test_who_predicts_needs_no_teacher(what, tmp_path):
    config = tiny.distiller()
    config.teacher[what] = str(tmp_path / 'not_here')
    with pytest.raises(FileNotFoundError, match='needs no teacher: .*publish'):
        init_detector(Config(dict(model=config)), device='cpu')


def test_an_inferencer_needs_no_teacher(mmpretrain_scope, tmp_path):
    config = tiny_cls.distiller()
    config['teacher']['checkpoint'] = str(tmp_path / 'not_here.pth')
    path = tmp_path / 'config.py'
    Config(dict(model=config)).dump(path)
    with pytest.raises(FileNotFoundError, match='needs no teacher: .*publish'):
        ImageClassificationInferencer(str(path), pretrained=False)


def test_one_stage_detectors_have_no_cache():
    model = tiny_dense.distiller()
    model.teacher.cache = 'somewhere'
    with pytest.raises(ValueError, match="which holds a classifier's 'log"):
        tiny.build(model)
    model = tiny.distiller()
    model.teacher.cache = 'somewhere'
    with pytest.raises(ValueError, match='teacher.cache: no cache in somewh'):
        tiny.build(model)
