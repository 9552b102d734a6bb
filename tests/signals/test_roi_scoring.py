"""A detector runs as much as is asked for, and what it says is the same."""

import pytest
import tiny
import torch

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


def test_branches_are_back_after_an_error(detector, images, monkeypatch):
    head = detector.roi_head.bbox_head
    (logits,) = find(detector, 'roi.cls_score')
    outer = compute_outer(detector, images, [logits])
    monkeypatch.setattr(head.fc_cls, 'forward', lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score_rois(detector, outer, [(logits, 0)], {0: ROIS})
    assert head.with_reg and head.with_cls
