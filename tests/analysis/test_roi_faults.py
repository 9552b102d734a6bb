"""Mistakes in distillation on RoIs: each is made, and nothing else changes."""

import functools

import pytest
import tiny
import torch
from mmengine.registry import MODELS
from self_loss import awake

from luminet_mm.analysis import roi_faults
from luminet_mm.losses import KDLoss
from luminet_mm.signals.signal import overridden

RIGHT = 'TwoStageDistiller'
LOSSES = dict(loss_kd='KDLoss', loss_luminet='LumiNetLoss')
FAULTS = (
    'OwnRoIsDistiller',
    'TwoPassesDistiller',
    'OtherRoIsDistiller',
    'TrainModeDistiller',
)


def build(kind, norm_eval=True, dropout=False):
    teacher = tiny.detector(width=12)
    teacher.backbone.norm_eval = norm_eval
    cfg = tiny.distiller(
        teacher=teacher,
        **{
            key: dict(type=f'luminet_mm.{loss}', signal='roi.cls_score')
            for key, loss in LOSSES.items()
        },
    )
    # a teacher in train mode sees to it itself; the others are like it
    cfg.teacher.fold_bn = kind == 'TrainModeDistiller'
    cfg.type = f'luminet_mm.{kind}'
    model = tiny.build(cfg)
    awake(model.teacher.model)
    if dropout:
        model.roi_head.bbox_head.shared_fcs.append(torch.nn.Dropout(0.5))
    return model


def norms(model):
    """The batch norms of a teacher."""
    return [
        module
        for module in model.teacher.model.modules()
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    ]


class Seen:
    """What a step did: its losses, rows, gradients and the random state."""

    def __init__(self, *args, **kwargs):
        self.model = model = build(*args, **kwargs)
        self.asked, self.passes, self.record = [], 0, None

        def _bbox_forward(stock, maps, rois):
            self.asked.append(rois)
            return stock(maps, rois)

        def forward(stock, feats):
            self.passes += 1
            return stock(feats)

        def ask_teachers(stock, active, started, record):
            self.record = record
            answers = stock(active, started, record)
            self.answers = list(answers)  # the step lets go of each
            return answers

        model.fit_teacher(0)  # it asks about noise
        means = [norm.running_mean.clone() for norm in norms(model)]
        with (
            overridden(model.teacher.model.roi_head, _bbox_forward),
            overridden(model.roi_head.bbox_head, forward),
            overridden(model, ask_teachers),
        ):
            self.losses, _ = tiny.step(model)
        self.draw = torch.rand(3)
        self.moved = not all(
            torch.equal(norm.running_mean, mean)
            for norm, mean in zip(norms(model), means, strict=True)
        )
        self.rows = self.record.stages[0]
        self.logits = self.rows.cls_score.detach(), self.answers[0]
        self.gradients = {
            key: p.grad.clone()
            for key, p in model.named_parameters()
            if p.grad is not None
        }
        model.zero_grad()


seen = functools.cache(Seen)


def flat(losses):
    """Each of the student's own losses, level by level."""
    return [
        x
        for key, value in losses.items()
        if key not in LOSSES
        for x in (value if isinstance(value, list) else [value])
    ]


@pytest.mark.parametrize('kind', FAULTS)
def test_the_students_own_step_is_the_right_one(kind):
    """Bit for bit, with what it draws; its keys are those of the stock."""
    right, wrong = seen(RIGHT), seen(kind)
    assert list(wrong.losses) == list(right.losses)
    assert all(map(torch.equal, flat(wrong.losses), flat(right.losses)))
    assert torch.equal(wrong.draw, right.draw)
    keys = list(wrong.model.state_dict())
    assert keys == list(right.model.state_dict())
    for key in LOSSES:
        assert wrong.losses[key].item() > 0


def test_a_right_teacher_is_asked_about_the_students_rois():
    step = seen(RIGHT)
    assert len(step.asked) == 1
    assert torch.equal(step.asked[0], step.rows.rois)


# -- own RoIs ---------------------------------------------------------------


def test_own_rois_are_those_of_the_teachers_rpn_and_ground_truth():
    step = seen('OwnRoIsDistiller')
    (asked,), ours = step.asked, step.rows.rois
    assert torch.equal(asked[:, 0], ours[:, 0])  # as many of each image
    assert not torch.equal(asked, ours)
    model, teacher = step.model, step.model.teacher.model
    data = tiny.prepared(model)
    samples = data['data_samples']
    with torch.no_grad():
        maps = teacher.extract_feat(data['inputs'])
        proposals = teacher.rpn_head.predict_by_feat(
            *teacher.rpn_head(maps),
            batch_img_metas=[each.metainfo for each in samples],
            cfg=model.train_cfg.rpn_proposal,
        )
    for i, sample in enumerate(samples):
        truth = sample.gt_instances.bboxes
        known = torch.cat([truth, proposals[i].bboxes])
        boxes = asked[asked[:, 0] == i, 1:]
        gaps = (boxes[:, None] - known).abs().amax(dim=2)
        assert gaps.amin(dim=1).max() < 1e-2
        # the sampler puts what has an object first, and the truth before it
        assert torch.equal(boxes[: len(truth)], truth)


def test_own_rois_change_the_loss_but_not_the_students_rows():
    right, wrong = seen(RIGHT), seen('OwnRoIsDistiller')
    (ours, good), (same, bad) = right.logits, wrong.logits
    assert torch.equal(ours, same)
    assert torch.equal(right.rows.rois, wrong.rows.rois)
    truth = right.rows.batch.added_gt  # the rows that are right by luck
    torch.testing.assert_close(bad[truth], good[truth])
    assert not torch.allclose(bad[~truth], good[~truth], atol=1e-4)


def test_rois_that_are_missing_are_the_students():
    step = seen(RIGHT)
    model, ours = step.model, step.rows.rois
    data = tiny.prepared(model)
    with torch.no_grad():
        family = roi_faults.OwnRoIs()
        signals = [family.find(model, 'roi.cls_score', 'student')]
        outer = family.ahead(model.teacher.model, data['inputs'], signals)
    many = torch.cat([ours, ours, ours])
    rois = roi_faults._sampled(model.teacher.model, outer, step.record, many)
    for i in range(2):
        boxes, theirs = (x[x[:, 0] == i, 1:] for x in (rois, many))
        assert len(boxes) == len(theirs) > 50
        # the sampler draws 32
        assert torch.equal(boxes[32:], theirs[32:])
        assert not torch.equal(boxes[:32], theirs[:32])


# -- a second pass ----------------------------------------------------------


def test_a_second_pass_on_the_same_rois_has_the_same_gradient():
    """Up to rounding: it is the same function of the same numbers."""
    right, twice = seen(RIGHT), seen('TwoPassesDistiller')
    assert (right.passes, twice.passes) == (1, 2)
    assert torch.equal(twice.asked[0], right.asked[0])
    for one, other in zip(twice.logits, right.logits, strict=True):
        torch.testing.assert_close(one, other)
    assert list(twice.gradients) == list(right.gradients)
    for key, gradient in twice.gradients.items():
        assert gradient.isfinite().all()
        torch.testing.assert_close(
            gradient, right.gradients[key], rtol=1e-3, atol=1e-5
        )


def test_with_dropout_in_the_head_the_second_pass_is_another_network():
    right = seen(RIGHT, dropout=True)
    twice = seen('TwoPassesDistiller', dropout=True)
    assert not torch.allclose(twice.logits[0], right.logits[0], atol=1e-3)
    assert torch.equal(twice.rows.rois, right.rows.rois)


def test_other_rois_are_the_best_proposals_without_labels():
    right, other = seen(RIGHT), seen('OtherRoIsDistiller')
    rois, batch = other.rows.rois, other.rows.batch
    assert torch.equal(other.asked[0], rois)
    assert other.passes == 2
    assert batch.labels is batch.added_gt is batch.no_object is None
    assert batch.background == 4
    model = other.model
    data = tiny.prepared(model)
    with torch.no_grad():
        maps = model.extract_feat(data['inputs'])
        proposals = model.rpn_head.predict_by_feat(
            *model.rpn_head(maps),
            batch_img_metas=[x.metainfo for x in data['data_samples']],
            cfg=model.train_cfg.rpn_proposal,
        )
        for i, found in enumerate(proposals):
            best = found.scores.argsort(descending=True, stable=True)[:32]
            boxes = rois[rois[:, 0] == i, 1:]
            assert len(found) > 32
            torch.testing.assert_close(boxes, found.bboxes[best])
        scored = model.roi_head._bbox_forward(maps, rois)['cls_score']
    torch.testing.assert_close(other.logits[0], scored)
    head = 'roi_head.bbox_head.fc_cls.weight'
    ratio = other.gradients[head] - right.gradients[head]
    assert ratio.norm() > 1e-3 * right.gradients[head].norm()


def test_without_an_active_loss_there_is_no_second_pass(monkeypatch):
    model = seen('TwoPassesDistiller').model
    for loss in model.distill.values():
        monkeypatch.setattr(loss, 'schedule_factor', 0.0)
    count = []
    handle = model.roi_head.bbox_head.register_forward_hook(
        lambda *_: count.append(1)
    )
    losses, _ = tiny.step(model)
    handle.remove()
    model.zero_grad()
    assert losses['loss_kd'].item() == 0 and len(count) == 1


# -- a teacher in train mode ------------------------------------------------


@pytest.mark.parametrize('norm_eval', [False, True])
def test_train_mode_uses_the_batchs_statistics_if_norms_allow_it(norm_eval):
    """MMDetection's own backbones hold their norms in eval mode."""
    right, wrong = (
        seen(kind, norm_eval=norm_eval)
        for kind in (RIGHT, 'TrainModeDistiller')
    )
    assert torch.equal(wrong.rows.rois, right.rows.rois)
    assert norms(wrong.model)  # not folded into convolutions
    assert not right.moved and wrong.moved != norm_eval
    same = torch.equal(wrong.answers[0], right.answers[0])
    assert same == norm_eval
    modules = wrong.model.teacher.model.modules()
    assert not any(module.training for module in modules)


# -- mistakes that are options ----------------------------------------------


def test_the_mean_over_columns_is_a_smaller_weight():
    student, teacher = torch.randn(2, 6, 11)
    log_s, p = student.log_softmax(dim=1), teacher.softmax(dim=1)
    wrong = (p * (p.log() - log_s)).mean()  # of kl_div, reduction='mean'
    loss = KDLoss(loss_weight=1 / 11)(student, teacher)
    torch.testing.assert_close(loss, wrong)


@pytest.mark.parametrize('loss', LOSSES.values())
def test_losses_without_the_background(loss):
    step = seen(RIGHT)
    batch = step.rows.batch
    kind = MODELS.get(f'luminet_mm.{loss}')
    student, teacher = (x.clone() for x in step.logits)

    def values():
        rows = dict(rows='foreground')
        if loss == 'LumiNetLoss':
            rows['stats_rows'] = 'foreground'
        options = ({}, dict(background=False), rows)
        return [kind(**each)(student, teacher, batch) for each in options]

    before = values()
    teacher[:, 4] += torch.linspace(0, 2, len(teacher))
    now = values()
    assert not torch.equal(now[0], before[0])
    assert torch.equal(now[1], before[1])
    teacher[batch.labels == 4] -= torch.randn(5)
    later = values()
    assert not torch.equal(later[0], now[0])
    assert torch.equal(later[2], now[2])


def test_a_cascade_is_refused():
    cfg = tiny.distiller(
        tiny.detector('cascade'),
        tiny.detector('cascade', width=12),
        **tiny.logit_losses('cascade'),
    )
    cfg.type = 'luminet_mm.OwnRoIsDistiller'
    with pytest.raises(ValueError, match='is a cascade. Take a'):
        tiny.build(cfg)
