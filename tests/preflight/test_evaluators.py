"""Evaluators: their class, options and file, and what they will report."""

import pytest
from mmengine.config import Config

from luminet_mm.preflight.evaluators import (
    evaluator_blocks,
    evaluator_problems,
    metric_problem,
    reported_names,
)

COCO = dict(type='CocoMetric', metric='bbox')


def cfg(evaluator, scope='mmdet'):
    return Config(dict(val_evaluator=evaluator, default_scope=scope))


def test_blocks_have_the_keys_that_name_them():
    assert evaluator_blocks(cfg(None), 'val') == []
    assert evaluator_blocks(cfg(COCO), 'test') == []
    assert evaluator_blocks(cfg(COCO), 'val') == [('val_evaluator', COCO)]
    assert evaluator_blocks(cfg([COCO]), 'val') == [('val_evaluator', COCO)]
    keys = [key for key, _ in evaluator_blocks(cfg([COCO, COCO]), 'val')]
    assert keys == ['val_evaluator.0', 'val_evaluator.1']


@pytest.mark.parametrize(
    'change, said',
    [
        (dict(type='CocoMetrik'), "did you mean 'CocoMetric'?"),
        (dict(type=None), 'val_evaluator.type: missing; name an evaluator'),
        (dict(metrik='bbox'), "no option 'metrik'; did you mean 'metric'?"),
        (dict(ann_file=5), 'val_evaluator.ann_file: 5 is not the path'),
    ],
)
def test_a_fault_is_one_line(change, said):
    (line,) = evaluator_problems(cfg(dict(COCO, **change)), 'val')
    assert said in line


def test_what_is_not_a_block():
    (line,) = evaluator_problems(cfg([COCO, 'CocoMetric']), 'val')
    assert line == "val_evaluator.1: 'CocoMetric' is not a block dict(...)"
    assert evaluator_problems(cfg(COCO), 'val') == []


def test_a_file_that_is_not_of_coco(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('{"images": [')
    (line,) = evaluator_problems(cfg(dict(COCO, ann_file=str(path))), 'val')
    assert line.startswith('val_evaluator.ann_file: ') and 'JSON' in line
    path.write_text('{"categories": []}')
    assert not evaluator_problems(cfg(dict(COCO, ann_file=str(path))), 'val')


def test_names_of_all_evaluators():
    both = [COCO, dict(type='mmpretrain.Accuracy', topk=(1,))]
    names = reported_names(cfg(both))
    assert 'coco/bbox_mAP' in names and 'accuracy/top1' in names
    assert reported_names(cfg(dict(COCO, classwise=True))) is None
    assert reported_names(cfg(dict(type='NotThere'))) is None


@pytest.mark.parametrize(
    'evaluator, metric, said',
    [
        (COCO, 'bbox_mAP', ''),
        (COCO, 'bbox_map', "did you mean 'coco/bbox_mAP'"),
        (dict(COCO, classwise=True), 'bbox_map', ''),  # nobody knows
    ],
)
def test_a_metric_that_is_not_reported(evaluator, metric, said):
    found = metric_problem(cfg(evaluator), metric)
    assert said in found and bool(found) == bool(said)
