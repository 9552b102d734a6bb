"""A detector runs as much as is asked for, and what it says is the same."""

import pytest
import tiny
import torch
from hooked import ran_in

from luminet_mm.signals.roi_scoring import (
    compute_outer,
    compute_signals,
    score_rois,
)
from luminet_mm.signals.two_stage import TwoStage

ROIS = torch.tensor([[0, 2.0, 3, 40, 50], [1, 10, 5, 60, 30], [0, 0, 0, 9, 9]])


@pytest.fixture(scope='module')
def detector():
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        return tiny.build(tiny.detector()).eval().requires_grad_(False)


@pytest.fixture(scope='module')
def images():
    torch.manual_seed(0)
    return torch.rand(2, 3, 64, 64)


def find(model, *names):
    return [TwoStage().find(model, name, 'teacher') for name in names]


def ran(model, run):
    """Names of the parts of a detector that a function runs."""
    parts = dict(
        backbone=model.backbone,
        neck=model.neck,
        rpn=model.rpn_head,
        cls=model.roi_head.bbox_head.fc_cls,
        reg=model.roi_head.bbox_head.fc_reg,
    )
    names = []
    handles = [
        part.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, part in parts.items()
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return names


@pytest.mark.parametrize(
    ('asked', 'parts'),
    [
        (['backbone'], ['backbone']),
        (['neck'], ['backbone', 'neck']),
        (['rpn.cls_score'], ['backbone', 'neck', 'rpn']),
        (['roi.feats'], ['backbone', 'neck']),
        (['roi.cls_score'], ['backbone', 'neck', 'cls']),
        (['roi.bbox_pred'], ['backbone', 'neck', 'reg']),
        (
            ['roi.cls_score', 'roi.bbox_pred', 'rpn.bbox_pred'],
            ['backbone', 'neck', 'rpn', 'cls', 'reg'],
        ),
    ],
)
def test_only_what_is_asked_for_runs(detector, images, asked, parts):
    requests = [(signal, 0) for signal in find(detector, *asked)]
    names = ran(
        detector,
        lambda: compute_signals(detector, images, requests, {0: ROIS}),
    )
    assert names == parts


def test_what_it_says_is_what_the_whole_detector_says(detector, images):
    names = ['neck', 'rpn.cls_score', 'roi.cls_score', 'roi.bbox_pred']
    requests = [(signal, 0) for signal in find(detector, *names)]
    maps, scores, logits, deltas = compute_signals(
        detector, images, requests, {0: ROIS}
    )
    whole = detector.extract_feat(images)
    torch.testing.assert_close(maps, whole)
    torch.testing.assert_close(scores, detector.rpn_head(whole)[0])
    outputs = detector.roi_head._bbox_forward(whole, ROIS)
    torch.testing.assert_close(logits, outputs['cls_score'])
    torch.testing.assert_close(deltas, outputs['bbox_pred'])


def test_an_fpn_stops_at_the_levels_that_rois_read(detector, images):
    """Its fifth level is for the RPN; asked for itself it is whole."""
    levels = {
        name: len(compute_outer(detector, images, find(detector, name)).feats)
        for name in ('roi.cls_score', 'neck')
    }
    assert levels == {'roi.cls_score': 4, 'neck': 0}
    outer = compute_outer(detector, images, find(detector, 'neck'))
    assert len(outer.values['neck']) == 5
    assert detector.neck.num_outs == 5


def test_nothing_is_kept_that_nobody_asked_for(detector, images):
    outer = compute_outer(
        detector, images, find(detector, 'rpn.bbox_pred', 'roi.feats')
    )
    assert set(outer.values) == {'rpn.bbox_pred'}
    assert len(outer.feats) == 5


def test_rois_of_several_stages_have_their_own_rows(detector, images):
    (logits,) = find(detector, 'roi.cls_score')
    outer = compute_outer(detector, images, [logits])
    other = ROIS[[2, 0]]
    first, second, again = score_rois(
        detector,
        outer,
        [(logits, 0), (logits, 1), (logits, 0)],
        {0: ROIS, 1: other},
    )
    torch.testing.assert_close(second, first[[2, 0]])
    assert again is first


def test_rois_keep_their_corners_under_autocast(detector, images):
    (logits,) = find(detector, 'roi.cls_score')
    outer = compute_outer(detector, images, [logits])
    (exact,) = score_rois(detector, outer, [(logits, 0)], {0: ROIS})
    with torch.autocast('cpu', torch.bfloat16):
        (value,) = score_rois(detector, outer, [(logits, 0)], {0: ROIS})
    assert torch.equal(value, exact)


def test_a_stage_is_scored_once_however_often_it_is_asked(detector, images):
    logits, boxes, neck = find(
        detector, 'roi.cls_score', 'roi.bbox_pred', 'neck'
    )
    requests = [(logits, 0), (neck, 0), (logits, 0), (boxes, 0), (logits, 1)]
    answers = []
    names = ran_in(
        detector,
        lambda: answers.extend(
            compute_signals(detector, images, requests, {0: ROIS, 1: ROIS[:1]})
        ),
    )
    assert names.count('roi_head.bbox_head.fc_cls') == 2, 'one for each RoIs'
    assert names.count('backbone.conv1') == 1
    assert [len(each) for each in answers] == [3, 5, 3, 3, 1]
    assert answers[0] is answers[2]


def test_branches_are_back_after_an_error(detector, images, monkeypatch):
    head = detector.roi_head.bbox_head
    (logits,) = find(detector, 'roi.cls_score')
    outer = compute_outer(detector, images, [logits])
    monkeypatch.setattr(head.fc_cls, 'forward', lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score_rois(detector, outer, [(logits, 0)], {0: ROIS})
    assert head.with_reg and head.with_cls


KINDS = ('faster', 'mask', 'cascade')


@pytest.mark.parametrize('kind', KINDS)
def test_teacher_scores_the_students_own_rois(kind):
    """A teacher with the student's weights gives the student's logits."""
    model = tiny.of_logits(kind, teacher=tiny.detector(kind), fold_bn=False)
    model.teacher.model.load_state_dict(model.state_dict())
    losses, _ = tiny.step(model, masks=kind == 'mask')
    for name in model.distill:
        # the layout of maps moves the last digits
        assert losses[name].item() == pytest.approx(0, abs=1e-7)


def test_student_runs_once_and_teacher_only_what_is_needed():
    model = tiny.of_logits('mask')
    model.fit_teacher(0)  # runs it once
    ran = []
    for owner, root in (('student', model), ('teacher', model.teacher.model)):
        for name, module in root.named_modules():
            if not list(module.children()):
                module.register_forward_hook(
                    lambda *_, name=name, owner=owner: ran.append(
                        (owner, name)
                    )
                )
    tiny.step(model, masks=True)
    student = [name for owner, name in ran if owner == 'student']
    teacher = [name for owner, name in ran if owner == 'teacher']
    assert student.count('backbone.conv1') == 1
    assert student.count('roi_head.bbox_head.fc_cls') == 1
    assert student.count('roi_head.bbox_head.fc_reg') == 1

    assert teacher.count('roi_head.bbox_head.fc_cls') == 1
    assert not [n for n in teacher if n.startswith('rpn_head')]
    assert not [n for n in teacher if 'fc_reg' in n or 'mask' in n]
    # four pyramid levels; the fifth (P6) is only for the RPN
    assert len({n for n in teacher if n.startswith('neck.fpn_convs')}) == 4
    leaves = [
        n
        for n, m in model.teacher.model.named_modules()
        if not list(m.children())
        and not n.startswith('rpn_head')
        and 'mask' not in n
        and 'fc_reg' not in n
        and 'loss' not in n
    ]
    assert set(teacher) < set(leaves)


def test_teacher_skips_the_extra_pyramid_level():
    model = tiny.of_logits()
    model.fit_teacher(0)  # runs it once
    shapes = []
    model.teacher.model.neck.register_forward_hook(
        lambda _, __, output: shapes.append(len(output))
    )
    tiny.step(model)
    assert shapes == [4]
    assert model.teacher.model.neck.num_outs == 5, 'whole again for scoring'
    assert model.teacher.model.roi_head.bbox_head.with_reg


def test_teacher_that_keeps_its_roi_features():
    """HTC hands out scores and boxes, not what its box head reads."""
    model = tiny.build(
        tiny.distiller(
            tiny.detector(),
            tiny.detector('htc'),
            loss_kd=dict(
                type='luminet_mm.KDLoss',
                student='roi.cls_score',
                teacher='roi.1.cls_score',
            ),
        )
    )
    losses, _ = tiny.step(model)
    assert losses['loss_kd'].item() > 0


def test_a_teachers_box_head_without_a_box_switch():
    """SABL's head has no `with_reg`; it scores RoIs like any other."""
    teacher = tiny.detector()
    teacher.roi_head.bbox_head = dict(
        type='SABLHead',
        num_classes=4,
        cls_in_channels=16,
        reg_in_channels=16,
        roi_feat_size=7,
        reg_feat_up_ratio=2,
        reg_pre_kernel=3,
        reg_post_kernel=3,
        reg_pre_num=2,
        reg_post_num=1,
        cls_out_channels=32,
        reg_offset_out_channels=16,
        reg_cls_out_channels=16,
        num_cls_fcs=1,
        num_reg_fcs=0,
        bbox_coder=dict(
            type='BucketingBBoxCoder', num_buckets=14, scale_factor=1.7
        ),
    )
    losses, _ = tiny.step(tiny.of_logits(teacher=teacher))
    assert losses['loss_0'] > 0


def test_box_branch_is_whole_again_after_an_error(monkeypatch):
    """Cascade heads with box convolutions of their own: swapped and back."""
    teacher = tiny.detector()
    teacher.roi_head.bbox_head.update(
        type='ConvFCBBoxHead',
        num_shared_fcs=0,
        num_cls_fcs=1,
        num_reg_convs=1,
        num_reg_fcs=1,
        conv_out_channels=16,
    )
    model = tiny.of_logits(teacher=teacher)
    head = model.teacher.model.roi_head.bbox_head
    layers = head.reg_convs, head.reg_fcs
    ran = []
    for layer in (*layers[0], *layers[1]):
        layer.register_forward_hook(lambda *_: ran.append(1))
    assert len(layers[0]) == len(layers[1]) == 1
    for broken in (False, True):
        if broken:
            monkeypatch.setattr(head.fc_cls, 'forward', lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                tiny.step(model)
        else:
            tiny.step(model)
        assert not ran
        assert head.with_reg
        assert (head.reg_convs, head.reg_fcs) == layers


def test_amp_keeps_the_teachers_roi_head_exact():
    """bf16 has 8 bits: a box corner at 1333 would become 1336."""
    model = tiny.of_logits()
    model.fit_teacher(0)  # runs it once
    seen = []
    roi_head = model.teacher.model.roi_head
    roi_head.bbox_roi_extractor.register_forward_pre_hook(
        lambda _, args: seen.extend((args[0][0].dtype, args[1].dtype))
    )
    roi_head.bbox_head.fc_cls.register_forward_hook(
        lambda _, __, output: seen.append(output.dtype)
    )
    with torch.autocast('cpu', torch.bfloat16):
        tiny.step(model)
    assert seen == [torch.float32] * 3


PARTS = dict(
    backbone='backbone.',
    # of five levels the last has no convolution: see `levels` below
    neck='neck.',
    rpn='rpn_head.rpn_',
    shared='roi_head.bbox_head.shared_fcs.',
    classes='roi_head.bbox_head.fc_cls',
    boxes='roi_head.bbox_head.fc_reg',
)


NEEDS = {
    'backbone': ({'backbone'}, 0),
    'neck': ({'backbone', 'neck'}, 5),
    'rpn.cls_score': ({'backbone', 'neck', 'rpn'}, 5),
    'rpn.bbox_pred': ({'backbone', 'neck', 'rpn'}, 5),
    'roi.feats': ({'backbone', 'neck', 'shared'}, 4),
    'roi.cls_score': ({'backbone', 'neck', 'shared', 'classes'}, 4),
    'roi.bbox_pred': ({'backbone', 'neck', 'shared', 'boxes'}, 4),
}


@pytest.mark.parametrize('kind', ['faster', 'mask', 'cascade'])
def test_only_what_a_signal_needs_runs(kind):
    """No RPN, fifth level, other branch, mask head or other stage."""
    stage = 1 if kind == 'cascade' else None
    names = list(NEEDS)
    if stage is not None:
        names = [name.replace('roi.', f'roi.{stage}.') for name in names]
    model = tiny.build(
        tiny.distiller(
            tiny.detector(kind),
            tiny.detector(kind),
            **{
                f'loss_{i}': dict(type='luminet_mm.KDLoss', signal=name)
                for i, name in enumerate(names)
            },
        )
    )
    teacher = model.teacher.model
    model.fit_teacher(0)  # asks for all, once
    levels = []
    teacher.neck.register_forward_hook(
        lambda module, args, out: levels.append(len(out))
    )
    prefixes = PARTS
    if stage is not None:
        prefixes = {
            key: prefix.replace('bbox_head.', f'bbox_head.{stage}.')
            for key, prefix in PARTS.items()
        }
    for loss in model.distill.values():
        loss.forward = lambda s, t, b: 0 * torch.zeros(())
    for i, (signal, (needs, count)) in enumerate(NEEDS.items()):
        for j, loss in enumerate(model.distill.values()):
            loss.schedule_factor = float(i == j)
        levels.clear()
        ran = ran_in(teacher, lambda: tiny.step(model, masks=kind == 'mask'))
        ran = [n for n in ran if 'loss' not in n and 'relu' not in n]
        for part, prefix in prefixes.items():
            found = any(name.startswith(prefix) for name in ran)
            assert found == (part in needs), (signal, part)
        # nothing else, such as a mask head or another stage
        allowed = (
            *(prefixes[part] for part in needs),
            'roi_head.bbox_roi_extractor.',
        )
        if not signal.startswith('roi'):
            allowed = allowed[:-1]
        extractor = f'roi_head.bbox_roi_extractor.{stage}.'
        if stage is not None and signal.startswith('roi'):
            allowed = (*allowed[:-1], extractor)
        other = [name for name in ran if not name.startswith(allowed)]
        assert not other, signal
        assert levels == ([count] if count else []), signal
    head = teacher.roi_head.bbox_head
    head = head if stage is None else head[stage]
    assert head.with_cls and head.with_reg and teacher.neck.num_outs == 5
