"""Which RoI heads have rows to compare; whole models: test_refusals.py."""

from types import SimpleNamespace

import pytest
import tiny
from torch import nn

from luminet_mm.signals.roi_heads import (
    bbox_heads,
    check_branches,
    check_roi_head,
    check_sampler,
    is_cascade,
    stage_of_path,
)
from luminet_mm.signals.signal import Signal

LOGITS = Signal('roi.cls_score', 'roi', 'cls_score')


@pytest.fixture(scope='module')
def detectors():
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        return [tiny.build(tiny.detector(k)) for k in ('faster', 'cascade')]


def test_box_heads_by_stage(detectors):
    faster, cascade = detectors
    assert bbox_heads(faster) == [faster.roi_head.bbox_head]
    assert bbox_heads(cascade) == list(cascade.roi_head.bbox_head)
    assert bbox_heads(nn.Module()) == []
    assert [is_cascade(each) for each in detectors] == [False, True]


@pytest.mark.parametrize(
    ('path', 'stages'),
    [
        ('roi_head.bbox_head.2.fc_cls', (0, 2)),
        ('roi_head.bbox_head.shared_fcs.1', (0, 0)),
        ('roi_head', (0, 0)),
    ],
)
def test_a_path_says_its_stage_in_a_cascade_alone(detectors, path, stages):
    assert tuple(stage_of_path(each, path) for each in detectors) == stages


def test_standard_and_cascade_heads_pass(detectors):
    for model in detectors:
        for whose in ('student', 'teacher'):
            check_roi_head(model, LOGITS, whose)
            check_branches(model, whose)


class OwnProposals(nn.Module):
    """Scores proposals that it makes, not any RoI."""

    def __init__(self, box_head):
        super().__init__()
        self.bbox_head = box_head

    def _bbox_forward(self, x, rois, proposals, *, further=None):
        raise AssertionError('it is only looked at')


def test_heads_of_other_rows_or_scores_are_named(detectors, monkeypatch):
    faster, _ = detectors
    box_head = faster.roi_head.bbox_head
    other = SimpleNamespace(roi_head=OwnProposals(box_head))
    with pytest.raises(ValueError, match=r'teacher \(OwnPro.*of its own'):
        check_roi_head(other, LOGITS, 'teacher')
    monkeypatch.setattr(
        type(box_head.loss_cls), 'custom_cls_channels', True, raising=False
    )
    with pytest.raises(ValueError, match='has CrossEntropyLoss, whose scores'):
        check_roi_head(faster, LOGITS, 'student')
    check_roi_head(faster, Signal('roi.feats', 'roi', 'feats'), 'student')


class Hard:
    """Runs the box head to choose RoIs."""

    bbox_head = object()


class Combined:
    def __init__(self, positive, negative):
        self.pos_sampler, self.neg_sampler = positive, negative


INSIDE = Signal('roi_head.x', 'roi', path='roi_head.x')


@pytest.mark.parametrize(
    'sampler',
    [Hard(), [object(), Hard()], Combined(object(), Hard())],
    ids=['alone', 'in a stage', 'combined'],
)
def test_a_sampler_that_runs_the_head_gives_it_other_rows(sampler):
    model = SimpleNamespace(roi_head=SimpleNamespace(bbox_sampler=sampler))
    check_sampler('loss_x', model, [LOGITS])  # not what lies inside
    with pytest.raises(ValueError, match="loss_x: 'roi_head.x' lies inside"):
        check_sampler('loss_x', model, [LOGITS, INSIDE])


def test_a_sampler_that_is_its_own_part_ends():
    own = Combined(None, None)
    own.pos_sampler = own.neg_sampler = own
    for sampler in (own, None, object()):
        roi_head = SimpleNamespace(bbox_sampler=sampler)
        check_sampler('x', SimpleNamespace(roi_head=roi_head), [INSIDE])
