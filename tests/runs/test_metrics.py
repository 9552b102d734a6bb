"""Names of metrics: what evaluators report, what a wish stands for."""

import pytest
from mmdet.evaluation import CocoMetric, FasterCocoMetric
from mmengine.registry import METRICS
from mmpretrain.evaluation import Accuracy, SingleLabelMetric

from luminet_mm.runs.metrics import (
    bound_problem,
    choose,
    reported,
    reported_by,
)

COCO = [f'coco/bbox_mAP{end}' for end in ('', '_50', '_75', '_s', '_m', '_l')]


@pytest.mark.parametrize(
    'names, wish, found',
    [
        (COCO, None, 'coco/bbox_mAP'),
        (['coco/segm_mAP', *COCO], None, 'coco/bbox_mAP'),
        (['accuracy/top5', 'accuracy/top1'], None, 'accuracy/top1'),
        (['mine/first', 'mine/second'], None, 'mine/first'),
        (COCO, 'coco/bbox_mAP_50', 'coco/bbox_mAP_50'),
        (COCO, 'bbox_mAP_50', 'coco/bbox_mAP_50'),
        (['found'], 'found', 'found'),
    ],
)
def test_choose(names, wish, found):
    assert choose(names, wish) == found


def test_a_wish_that_is_not_reported():
    with pytest.raises(ValueError, match="did you mean 'coco/bbox_mAP'"):
        choose(COCO, 'coco/bbox_map')
    several = "more than one metric 'top1': a/top1, b/top1"
    with pytest.raises(ValueError, match=several):
        choose(['a/top1', 'b/top1'], 'top1')
    with pytest.raises(ValueError, match='no metric. Available: none'):
        choose([], None)


@pytest.mark.parametrize(
    'name, bound, message',
    [
        ('coco/bbox_mAP', 35, 'is a fraction of 1; write 0.35'),
        ('mine/segm_mAP_50', 35.5, 'write 0.355'),
        ('pascal_voc/mAP', 70, 'write 0.7'),
        ('coco/bbox_mAP', -0.1, 'is never negative'),
        ('accuracy/top1', 0.7, 'is in percent; write 70'),
        ('multi-label/mAP', 0.5, 'is in percent; write 50'),
        ('accuracy/top5', 101, 'at most 100'),
        ('coco/bbox_mAP', 0.35, ''),
        ('coco/bbox_mAP', 1, ''),
        ('accuracy/top1', 70, ''),
        ('accuracy/top1', 0, ''),
        ('mine/score', 12, ''),
        ('', -3, ''),
    ],
)
def test_bounds(name, bound, message):
    problem = bound_problem(name, bound)
    assert message in problem and bool(message) == bool(problem)


@pytest.mark.parametrize(
    'cls, block',
    [
        (CocoMetric, {}),
        (CocoMetric, dict(metric=['bbox', 'segm'], prefix='own')),
        (CocoMetric, dict(metric='proposal')),
        (CocoMetric, dict(metric_items=['mAP', 'AR@100'])),
        (CocoMetric, dict(format_only=True, outfile_prefix='x')),
        (CocoMetric, dict(classwise=True)),
        (CocoMetric, dict(metric='proposal_fast')),
        (FasterCocoMetric, dict(metric=['bbox', 'segm'])),
        (Accuracy, {}),
        (Accuracy, dict(topk=(1, 5), thrs=(0.5, None))),
        (Accuracy, dict(topk=3)),
        (SingleLabelMetric, {}),
    ],
)
def test_a_config_reports_what_the_built_metric_does(cls, block):
    built = METRICS.build(dict(block, type=cls))
    assert reported_by(cls, block) == reported(built)


def test_names_are_those_that_are_logged():
    assert reported(CocoMetric()) == COCO
    assert reported(FasterCocoMetric()) == COCO
    assert reported(Accuracy(topk=(1, 5))) == [
        'accuracy/top1',
        'accuracy/top5',
    ]
    metric = Accuracy(topk=(1, 2), thrs=(0.5, None))
    metric.results = []
    import torch
    from mmpretrain.structures import DataSample

    sample = DataSample().set_gt_label(0)
    sample.set_pred_score(torch.tensor([0.6, 0.3, 0.1]))
    metric.process(None, [sample.to_dict()])
    assert list(metric.evaluate(1)) == reported(metric)


def test_what_computes_otherwise_is_unknown():
    class Own(CocoMetric):
        def compute_metrics(self, results):
            return dict(mine=1.0)

    assert reported(Own()) is None and reported_by(Own, {}) is None
