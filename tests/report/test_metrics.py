"""Names, units and spread of metrics."""

import pytest

from luminet_mm.report.metrics import (
    digits_of,
    main_metric,
    number,
    sort_metrics,
    title_of,
    unit_of,
)
from luminet_mm.report.runs import ReportError
from luminet_mm.runs.metrics import factor_of


def test_metrics_have_their_short_names():
    assert title_of('coco/bbox_mAP_75') == 'AP75'
    assert title_of('accuracy/top5') == 'top-5'
    assert title_of('mine/score') == 'mine/score'
    assert unit_of('coco/bbox_mAP') == 'AP'
    assert unit_of('accuracy/top1') == 'points of top-1 accuracy'
    assert unit_of('pascal_voc/mAP') == 'points of pascal_voc/mAP'
    assert unit_of('mine/score') == 'mine/score'


def test_fractions_are_shown_in_percent():
    assert number(0.2345, 'coco/bbox_mAP') == '23.4'
    assert number(71.26, 'accuracy/top1') == '71.3'
    assert number(0.5, 'mine/score') == '0.500'
    assert (factor_of('accuracy/top1'), digits_of('mine/score')) == (1.0, 3)


@pytest.mark.parametrize('value', [-1.0, float('nan')])
def test_what_was_not_measured_is_a_dash(value):
    assert number(value, 'coco/bbox_mAP_l') == '–'


def test_the_main_metric_comes_first_and_classes_are_apart():
    names = [
        'mine/score',
        'coco/cat_precision',
        'coco/bbox_mAP_50',
        'coco/bbox_mAP',
        'coco/segm_mAP',
    ]
    assert sort_metrics(names, 'coco/segm_mAP') == [
        'coco/segm_mAP',
        'coco/bbox_mAP',
        'coco/bbox_mAP_50',
        'mine/score',
    ]


def test_the_main_metric():
    coco = ['coco/bbox_mAP_50', 'coco/bbox_mAP']
    assert main_metric([coco, coco], None) == 'coco/bbox_mAP'
    assert main_metric([coco], 'bbox_mAP_50') == 'coco/bbox_mAP_50'
    assert main_metric([['pascal_voc/mAP', 'x/y']] * 2, None) == (
        'pascal_voc/mAP'
    )


@pytest.mark.parametrize(
    ('logged', 'wish', 'message'),
    [
        ([], None, 'no run has a validation in its log yet'),
        ([['a/b'], ['c/d']], None, 'no accuracy metric is logged by every'),
        ([['a/b']], 'a/c', "no metric 'a/c'; did you mean 'a/b'"),
    ],
)
def test_a_metric_that_is_not_there(logged, wish, message):
    with pytest.raises(ReportError, match=message):
        main_metric(logged, wish)
