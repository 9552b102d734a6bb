"""A teacher's logits in the classes of its student."""

import copy

import pytest
import tiny
import tiny_cls
import tiny_dense
import tiny_detr
import torch
from mmengine.registry import DefaultScope

from luminet_mm.losses import KDLoss
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.family import Question
from luminet_mm.signals.signal import Signal
from luminet_mm.teachers.class_map import ClassMap, map_answers, read_mapping
from luminet_mm.teachers.classes import classes_of_dataset

KNOWN = ('cat', 'van', 'dog', 'car', 'bus')
TRAFFIC = {'car': ['car', 'van'], 'bus': ['bus']}
# Student's classes of the tiny models, of a teacher with 6 classes.
SIX = ('hen', 'cock', 'cow', 'kitten', 'cat', 'dog')
FOUR = dict(
    cat=['cat', 'kitten'], dog=['dog'], hen=['hen', 'cock'], cow=['cow']
)


def rows(columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(64, columns, generator=generator)


def test_probabilities_of_a_softmax_add_up():
    logits = rows(5)
    ours = ClassMap(TRAFFIC, KNOWN)(logits, 'softmax').softmax(1)
    theirs = logits.softmax(1)
    car, bus = theirs[:, 3] + theirs[:, 1], theirs[:, 4]
    known = torch.stack([car, bus], 1) / (car + bus)[:, None]
    torch.testing.assert_close(ours, known)


def test_what_the_student_does_not_know_is_background():
    logits = rows(6)
    ours = ClassMap(TRAFFIC, KNOWN)(logits, 'softmax').softmax(1)
    theirs = logits.softmax(1)
    car, bus = theirs[:, 3] + theirs[:, 1], theirs[:, 4]
    torch.testing.assert_close(ours, torch.stack([car, bus, 1 - car - bus], 1))


@pytest.mark.parametrize('activation', ['softmax', 'sigmoid'])
def test_rows_may_have_a_dimension_for_images(activation):
    """As the queries of a DETR have."""
    logits, classes = rows(6), ClassMap(TRAFFIC, KNOWN)
    logits = logits[:, : 5 + (activation == 'softmax')]
    apart = classes(logits.view(4, 16, -1), activation)
    assert torch.equal(apart.flatten(0, 1), classes(logits, activation))


def test_after_a_sigmoid_any_of_them_counts():
    classes = ClassMap({'x': ['cat', 'dog', 'bus'], 'y': ['car']}, KNOWN)
    logits = rows(5)
    p = logits.double().sigmoid()
    none = (1 - p[:, 0]) * (1 - p[:, 2]) * (1 - p[:, 4])
    ours = classes(logits, 'sigmoid')
    torch.testing.assert_close(
        ours.double().sigmoid()[:, 0], 1 - none, rtol=1e-5, atol=1e-7
    )
    assert torch.equal(ours[:, 1], logits[:, 3])


@pytest.mark.parametrize('activation', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('extra', [0, 1])
def test_names_that_are_the_same_change_nothing(activation, extra):
    logits = rows(5 + extra)
    if activation == 'sigmoid' and extra:
        return  # a sigmoid needs no background column
    classes = ClassMap({name: name for name in KNOWN}, KNOWN)
    assert torch.equal(classes(logits, activation), logits)


@pytest.mark.parametrize('activation', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('size', [100.0, -100.0, 1e4])
def test_large_logits_stay_finite(activation, size):
    logits = torch.full((2, 5), size)
    ours = ClassMap(TRAFFIC, KNOWN)(logits, activation)
    assert ours.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_sums_are_in_float32(dtype):
    logits = rows(6).to(dtype)
    ours = ClassMap(TRAFFIC, KNOWN)(logits, 'softmax')
    assert ours.dtype == torch.float32
    wanted = ClassMap(TRAFFIC, KNOWN)(logits.double(), 'softmax')
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-5, atol=1e-5)
    assert ClassMap(TRAFFIC, KNOWN)(rows(6)[:0], 'softmax').shape == (0, 3)


@pytest.mark.parametrize(
    ('classes', 'said'),
    [
        (['car'], r"teacher.classes: \['car'\] is not a mapping"),
        ({}, 'is not a mapping'),
        (
            {'car': []},
            r"classes\['car'\]: \[\] is not a list.*not know cannot",
        ),
        ({'car': [3]}, r'\[3\] is not a list of classes'),
        ({'car': ['car'], 'x': ['bus', 'car']}, "classes: 'car' twice"),
        ({'car': ['cars']}, r"\['car'\]: .* 'cars' among its 5.*'car'"),
        ({'car': ['xyz']}, "no class 'xyz'.* has 'cat', 'van', 'dog'"),
    ],
)
def test_wrong_mappings_name_the_entry(classes, said):
    with pytest.raises(ValueError, match=said):
        ClassMap(classes, KNOWN)


def test_a_teacher_that_names_no_classes():
    with pytest.raises(ValueError, match=r'do not name its.*metainfo=dict\('):
        ClassMap(TRAFFIC, ())
    with pytest.raises(ValueError, match='names 5 classes and has 8 logits'):
        ClassMap(TRAFFIC, KNOWN)(rows(8), 'softmax')


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        (['car', 'bus', 'tram'], "lacks 'tram'. Map every class"),
        (['car'], "has 'bus', which they lack"),
        (['bus', 'car'], "classes 'bus', 'car', and the .* another order"),
    ],
)
def test_the_data_have_other_classes(data, said):
    with pytest.raises(ValueError, match=f'teacher.classes: .*{said}'):
        ClassMap(TRAFFIC, KNOWN).check(data)
    ClassMap(TRAFFIC, KNOWN).check(['car', 'bus'])
    ClassMap(TRAFFIC, KNOWN).check([])


def test_a_single_name_needs_no_list():
    assert read_mapping(dict(a='b')) == dict(a=('b',))


def test_only_logits_are_mapped():
    """Of several signals of a question each by itself; of levels each."""
    logits, maps = Signal('logits', 'head', 'logits'), Signal('x', 'neck')
    classes, net = ClassMap(TRAFFIC, KNOWN), torch.nn.Identity()
    questions = [Question([logits], []), Question([maps, logits], [])]
    values = [rows(5), (rows(5), rows(5))]
    one, (kept, other) = map_answers(
        classes, Classifier(), net, questions, values
    )
    assert torch.equal(one, other) and one.shape[1] == 2
    assert kept is values[1][0]
    assert map_answers(None, Classifier(), net, questions, values) is values
    levels = classes.of_levels([rows(5), rows(5, 1)], 'sigmoid')
    assert [each.shape for each in levels] == [(64, 2)] * 2


# -- in a training step -----------------------------------------------------


def with_classes(model, names=SIX):
    data = dict(dataset=dict(type='CocoDataset', metainfo=dict(classes=names)))
    return dict(model=model, train_dataloader=data)


def detector(kind, **loss):
    loss = dict(dict(type='luminet_mm.KDLoss'), **loss)
    if kind == 'faster':
        cfg = tiny.distiller(loss_x=dict(dict(signal='roi.cls_score'), **loss))
        teacher = tiny.detector(width=12, num_classes=6)
    else:
        cfg = tiny_dense.distiller(
            tiny_dense.detector(kind),
            loss_x=dict(dict(tiny_dense.bckd()), **loss),
        )
        cfg.distill.loss_x.type = loss.get('kind', 'luminet_mm.BCKDLoss')
        teacher = tiny_dense.detector(kind, num_classes=6)
    cfg.teacher.config = with_classes(teacher)
    cfg.teacher.classes = FOUR
    return cfg


def heard(model, data):
    """What the loss gets of both, its value and what the teacher said."""
    seen, raw = [], []
    model.fit_teacher(0)
    loss = model.distill.loss_x
    handle = loss.register_forward_pre_hook(lambda _, args: seen.extend(args))
    teacher = model.teacher
    kept, teacher.class_map = teacher.class_map, None

    class Kept(ClassMap):
        def __init__(self):
            pass

        def of_levels(self, value, activation):
            raw.append((value, activation))
            return kept.of_levels(value, activation)

    teacher.class_map = Kept()
    value = model.loss(data['inputs'], data['data_samples'])['loss_x']
    handle.remove()
    teacher.class_map = kept
    return seen, raw, value


def test_a_two_stage_teacher_of_more_classes():
    model = tiny.build(detector('faster'))
    data = tiny.prepared(model)
    (student, teacher, _), ((raw, made),), value = heard(model, data)
    assert made == 'softmax' and raw.shape[1] == 7
    theirs = raw.softmax(1)
    columns = [[4, 3], [5], [0, 1], [2], [6]]
    wanted = torch.stack([theirs[:, c].sum(1) for c in columns], 1)
    torch.testing.assert_close(teacher.softmax(1), wanted)
    torch.testing.assert_close(value, KDLoss()(student, wanted.log()))
    value.backward()
    assert model.roi_head.bbox_head.fc_cls.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('kind', ['retinanet', 'gfl'])
def test_a_one_stage_teacher_of_more_classes(kind):
    model = tiny.build(detector(kind))
    data = tiny.prepared(model)
    seen, raw, value = heard(model, data)
    ((levels, made),) = raw
    assert made == 'sigmoid'
    theirs = levels[0].sigmoid()
    wanted = 1 - (1 - theirs[:, 4]) * (1 - theirs[:, 3])
    torch.testing.assert_close(seen[1][0][0].sigmoid()[:, 0], wanted)
    assert [len(x) for x in seen[1][1]] == [len(x) for x in levels]
    value.backward()
    assert value > 0


@pytest.mark.usefixtures('mmpretrain_scope')
def test_a_classifier_of_more_classes():
    cfg = tiny_cls.distiller(
        loss_x=dict(type='luminet_mm.KDLoss', signal='logits')
    )
    names = [f'class {i}' for i in range(9)]
    cfg['teacher']['config'] = with_classes(
        tiny_cls.classifier(width=12, num_classes=9), names
    )
    cfg['teacher']['classes'] = {
        name: names[i : i + 2] if i == 3 else names[i + (i > 3)]
        for i, name in enumerate(tiny_cls.CLASSES)
    }
    model = tiny_cls.build(cfg)
    data = tiny_cls.prepared(model)
    seen, ((raw, made),), value = heard(model, data)
    assert made == 'softmax' and raw.shape[1] == 9
    theirs = raw.softmax(1)[:, :6]
    wanted = torch.cat(
        [theirs[:, :3], theirs[:, 3:5].sum(1, keepdim=True), theirs[:, 5:]], 1
    )
    wanted = wanted / wanted.sum(1, keepdim=True)
    torch.testing.assert_close(seen[1].softmax(1), wanted)
    value.backward()


def test_a_detr_of_more_classes():
    cfg = tiny_detr.distiller(loss_x=tiny_detr.matched())
    teacher = tiny_detr.detector(num_classes=6)
    cfg.teacher.update(config=with_classes(teacher), classes=FOUR)
    model = tiny.build(cfg)
    seen, ((raw, made),), value = heard(model, tiny.prepared(model))
    assert made == 'sigmoid' and [x.shape[2] for x in raw] == [6, 6]
    theirs = raw[1].sigmoid()
    wanted = 1 - (1 - theirs[..., 4]) * (1 - theirs[..., 3])
    torch.testing.assert_close(seen[1][0][1].sigmoid()[..., 0], wanted)
    value.backward()
    assert value > 0


def test_another_number_of_classes_is_counted():
    cfg = detector('faster')
    cfg.teacher.classes = dict(cat=['cat'], dog=['dog'])
    with pytest.raises(
        ValueError,
        match='4 classes and the teacher, mapped by teacher.classes, has 2',
    ):
        tiny.build(cfg)


def test_of_several_teachers_the_one_is_named():
    cfg = detector('faster')
    first = dict(cfg.teacher)
    cfg.teacher = [first, dict(first, classes=dict(FOUR, cow=['cows']))]
    said = r"^model.teacher.1: teacher.classes\['cow'\]: .* no class 'cows'"
    with pytest.raises(ValueError, match=said):
        tiny.build(cfg)


@pytest.mark.parametrize(
    ('part', 'option'),
    [('bbox', 'reg_class_agnostic'), ('mask', 'class_agnostic')],
)
def test_what_each_class_has_of_its_own_cannot_be_mapped(part, option):
    """A box or a mask; one for all classes is compared as ever."""
    if part == 'bbox':
        loss = dict(type='luminet_mm.FitNetLoss', connector='linear')
        loss['signal'] = 'roi.bbox_pred'
    else:
        loss = dict(type='luminet_mm.MaskKDLoss', signal='roi.mask')
    teacher = tiny.detector('mask', num_classes=6)
    cfg = tiny.distiller(tiny.detector('mask'), loss_x=loss)
    cfg.teacher.update(config=with_classes(teacher), classes=FOUR)
    with pytest.raises(ValueError, match=f'teacher has a .*{option}=True'):
        tiny.build(cfg)
    for each in (cfg, cfg.teacher.config.model):
        each.roi_head[f'{part}_head'][option] = True
    tiny.build(cfg)


def test_an_rpn_has_no_classes_to_map():
    cfg = detector('faster')
    cfg.distill = dict(
        loss_x=dict(type='luminet_mm.BinaryKDLoss', signal='rpn.objectness')
    )
    model = tiny.build(cfg)
    assert tiny.step(model)[0]['loss_x'] > 0


def test_other_bins_are_refused_with_mapped_classes_as_well():
    cfg = detector('gfl')
    cfg.teacher.config.model.bbox_head.reg_max = 8
    with pytest.raises(ValueError, match="numbers for a prior.*'bins': 8"):
        tiny.build(cfg)


def test_features_alone_need_no_mapping():
    cfg = tiny.distiller(
        teacher=tiny.detector(num_classes=6),
        loss_x=dict(type='luminet_mm.PKDLoss', signal='neck'),
    )
    model = tiny.build(cfg)
    assert tiny.step(model)[0]['loss_x'] > 0


@pytest.mark.usefixtures('mmpretrain_scope')
def test_a_head_that_takes_the_teachers_classifier_is_refused():
    cfg = tiny_cls.simkd(tiny_cls.classifier(width=12))
    cfg['teacher']['config'] = with_classes(
        cfg['teacher']['config']['model'], tiny_cls.CLASSES
    )
    assert isinstance(tiny_cls.build(cfg).head, ReusedClsHead)
    cfg['teacher']['classes'] = {x: x for x in tiny_cls.CLASSES}
    with pytest.raises(ValueError, match='takes the teacher.*teacher.classes'):
        tiny_cls.build(cfg)


def test_names_of_the_data_sets_type():
    cfg = with_classes({})
    with DefaultScope.overwrite_default_scope('mmdet'):
        assert len(classes_of_dataset(cfg, 'mmdet')) == 80
    bare = copy.deepcopy(cfg)
    bare['train_dataloader']['dataset'].pop('type')
    assert classes_of_dataset(bare, 'mmdet') == ()
    assert classes_of_dataset({}, 'mmdet') == ()
