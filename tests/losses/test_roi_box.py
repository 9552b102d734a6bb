"""RoI boxes: distances of decoded boxes, and steps of real detectors."""

import copy
from types import SimpleNamespace

import pytest
import tiny
import torch
from mmengine.optim import build_optim_wrapper

from luminet_mm.losses import DistillBatch, RoIBoxLoss
from luminet_mm.losses.base.iou import giou_distances
from luminet_mm.registry import MODELS

NAMES = ('roi.cls_score', 'roi.bbox_pred')
CLASSES, ROIS = 3, 7


def coder(scale=0.1):
    # after this package, without which it needs mmcv's extension
    from mmdet.models.task_modules import DeltaXYWHBBoxCoder

    return DeltaXYWHBBoxCoder(
        target_stds=(scale, scale, 2 * scale, 2 * scale), clip_border=False
    )


def loss_of(student=None, teacher=None, **options):
    """A loss that has read two heads with these coders."""
    sides = [
        SimpleNamespace(
            roi_head=SimpleNamespace(
                bbox_head=SimpleNamespace(bbox_coder=each or coder())
            )
        )
        for each in (student, teacher)
    ]
    loss = RoIBoxLoss(**options)
    loss.read_models(*sides, NAMES, NAMES)
    return loss


def case(seed=0, dtype=torch.float64, wise=True):
    generator = torch.Generator().manual_seed(seed)

    def draw(columns):
        values = torch.randn(ROIS, columns, generator=generator)
        return values.to(dtype)

    width = 4 * CLASSES if wise else 4
    student, teacher = ([draw(CLASSES + 1), draw(width)] for _ in range(2))
    corner = 20 * torch.rand(ROIS, 2, generator=generator)
    size = 5 + 20 * torch.rand(ROIS, 2, generator=generator)
    rois = torch.cat([torch.zeros(ROIS, 1), corner, corner + size], 1)
    return student, teacher, DistillBatch(rois=rois.to(dtype), background=3)


def gradients(loss, student, teacher, batch):
    leaves = [each.clone().requires_grad_() for each in student]
    value = loss(leaves, teacher, batch)
    value.backward()
    return value.detach(), leaves[1].grad


@pytest.mark.parametrize('form', ['l1', 'giou'])
def test_is_the_formula(form):
    (_, deltas), (scores, other), batch = case()
    expected = []
    for row in range(ROIS):
        p = scores[row].softmax(0)
        c = int(p[:CLASSES].argmax())
        pair = [each[row, 4 * c : 4 * c + 4] for each in (deltas, other)]
        if form == 'l1':
            distance = (pair[0] - pair[1]).abs().sum()
        else:
            boxes = [
                coder().decode(batch.rois[row, None, 1:], each[None])
                for each in pair
            ]
            distance = giou_distances(*boxes)[0]
        expected.append((1 - p[3]) * distance)
    student = [torch.zeros(ROIS, 4, dtype=torch.float64), deltas]
    value = loss_of(form=form)(student, [scores, other], batch)
    torch.testing.assert_close(value, torch.stack(expected).mean())


@pytest.mark.parametrize('form', ['l1', 'giou'])
def test_equal_boxes_of_other_coders_teach_nothing(form):
    student, teacher, batch = case(wise=False)
    teacher[1] = student[1] * 2  # half the deviation
    loss = loss_of(coder(0.1), coder(0.05), form=form)
    value, _ = gradients(loss, student, teacher, batch)
    assert value < 1e-5  # the coder's constants are float32
    assert loss_of(form=form)(student, teacher, batch) > 0.05


def test_equal_deltas_have_no_gradient():
    student, _, batch = case()
    value, grad = gradients(loss_of(), student, student, batch)
    assert value == 0 and not grad.any()


def test_class_wise_and_agnostic_heads_may_be_mixed():
    student, teacher, batch = case()
    best = teacher[0][:, :CLASSES].argmax(dim=1)
    rows = torch.arange(ROIS)
    one = teacher[1].unflatten(1, (-1, 4))[rows, best]
    torch.testing.assert_close(
        loss_of()(student, [teacher[0], one], batch),
        loss_of()(student, teacher, batch),
    )


def test_what_the_teacher_takes_for_background_does_not_count():
    student, teacher, batch = case()
    teacher[0][2:] = torch.tensor([0.0, 0, 0, 90]).double()
    _, grad = gradients(loss_of(), student, teacher, batch)
    assert grad[:2].any() and not grad[2:].any()


def test_only_the_boxes_of_the_teachers_class_are_trained():
    student, teacher, batch = case()
    _, grad = gradients(loss_of(), student, teacher, batch)
    touched = grad.unflatten(1, (-1, 4)).any(dim=2)
    best = teacher[0][:, :CLASSES].argmax(dim=1)
    assert touched.sum(dim=1).eq(1).all()
    assert touched[torch.arange(ROIS), best].all()


def test_weight_and_schedule_multiply():
    loss = loss_of(loss_weight=3.0)
    loss.schedule_factor = 0.5
    torch.testing.assert_close(loss(*case()), 1.5 * loss_of()(*case()))


@pytest.mark.parametrize('form', ['l1', 'giou'])
def test_no_rois_give_0_with_a_graph(form):
    student, teacher, batch = case()
    batch.rois = batch.rois[:0]
    empty = [[each[:0] for each in side] for side in (student, teacher)]
    empty[0][1].requires_grad_()
    value = loss_of(form=form)(*empty, batch)
    value.backward()
    assert value == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    student, teacher, batch = case(dtype=dtype)
    value = loss_of()(student, teacher, batch)
    whole = [[each.float() for each in side] for side in (student, teacher)]
    exact = loss_of()(*whole, batch)
    assert value.dtype == torch.float32 and torch.equal(value, exact)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(loss_of()(student, teacher, batch), exact)


def test_bad_input_is_named():
    student, teacher, batch = case()
    with pytest.raises(ValueError, match='it has not read the heads yet'):
        RoIBoxLoss()(student, teacher, batch)
    with pytest.raises(ValueError, match='needs batch.rois'):
        loss_of()(student, teacher)
    with pytest.raises(ValueError, match="form is 'l2'"):
        RoIBoxLoss(form='l2')
    student[1][0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match='student'):
        loss_of()(student, teacher, batch)


def test_copies_work():
    loss = loss_of()
    again = copy.deepcopy(loss)
    assert torch.equal(again(*case()), loss(*case()))


class TestTwoRanks:
    @classmethod
    def on_rank(cls, rank, world_size):
        where = [slice(0, 5), slice(5, None)][rank]
        student, teacher, batch = case()
        batch.rois = batch.rois[where]
        student, teacher = (
            [each[where] for each in side] for side in (student, teacher)
        )
        return gradients(loss_of(), student, teacher, batch)

    @pytest.mark.two_ranks
    def test_they_equal_one(self, two_ranks):
        value, grad = gradients(loss_of(), *case())
        torch.testing.assert_close(sum(v for v, _ in two_ranks) / 2, value)
        both = torch.cat([each for _, each in two_ranks]) / 2
        torch.testing.assert_close(both, grad)


# -- real detectors ---------------------------------------------------------


def distiller(kind='faster', names=NAMES, wise=(True, True), **options):
    sides = [tiny.detector(kind) for _ in range(2)]
    if kind == 'faster':
        for each, own in zip(sides, wise):
            each.roi_head.bbox_head.reg_class_agnostic = not own
    cfg = dict(type='luminet_mm.RoIBoxLoss', signal=list(names), **options)
    model = tiny.distiller(*sides, loss_box=cfg)
    model.teacher.fold_bn = False
    return tiny.build(model)


@pytest.mark.parametrize(
    'options',
    [
        dict(wise=(False, True)),
        dict(wise=(True, False), form='giou'),
        dict(kind='cascade', names=['roi.1.cls_score', 'roi.1.bbox_pred']),
        dict(kind='mask'),
    ],
)
def test_a_detector_takes_a_step(options):
    model = distiller(**options)
    optim = build_optim_wrapper(
        model,
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3)),
    )
    masks = options.get('kind') == 'mask'
    log = model.train_step(tiny.batch(masks=masks), optim)
    assert log['loss_box'].isfinite() and log['loss_box'] > 0


@pytest.mark.parametrize('form', ['l1', 'giou'])
def test_a_teacher_with_the_students_weights_teaches_nothing(form):
    model = distiller(form=form)
    model.load_state_dict(model.teacher.model.state_dict(), strict=False)
    model.eval()  # batch norms as those of the teacher
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_box'] < 1e-4 < losses['loss_bbox'].abs()


def test_other_signals_and_several_teachers_are_refused():
    with pytest.raises(ValueError, match="compares .'roi.cls_score', 'roi.b"):
        distiller(names=['roi.bbox_pred', 'roi.cls_score'])
    cfg = tiny.distiller(
        loss_box=dict(type='luminet_mm.RoIBoxLoss', signal=list(NAMES))
    )
    cfg.teacher = [cfg.teacher, copy.deepcopy(cfg.teacher)]
    with pytest.raises(ValueError, match='listens to 2 of the teachers'):
        tiny.build(cfg)


def test_it_is_registered_without_parameters():
    assert MODELS.get('RoIBoxLoss') is RoIBoxLoss
    assert not list(loss_of().parameters())
