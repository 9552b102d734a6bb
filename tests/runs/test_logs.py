"""What a run logged: over its restarts, and which metric stands for it."""

import json
import math

import pytest

from luminet_mm.runs.logs import choose_metric, read_curves, read_log


def test_the_first_metric_that_all_runs_have():
    coco, top1 = 'coco/bbox_mAP', 'accuracy/top1'
    assert choose_metric([[top1, coco], [top1]]) == top1
    assert choose_metric([[top1, coco], [coco, top1]]) == coco
    assert choose_metric([[top1, coco], [top1]], top1) == top1
    for metric in (None, coco):
        with pytest.raises(ValueError, match='by every run. .* is a/b, coco'):
            choose_metric([['a/b'], [coco]], metric)


def test_log_of_a_resumed_run_is_one(tmp_path):
    for name, steps in (('a', (1, 2)), ('b', (2, 3))):
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        text = '\n'.join(
            json.dumps({'coco/bbox_mAP': step, 'run': name, 'step': step})
            for step in steps
        )
        (folder / 'scalars.json').write_text(text + '\n{"cut": ')
    log = read_log(tmp_path)
    assert [m['run'] for m in log.metrics] == ['a', 'b', 'b']
    assert log.iterations == 0 and math.isnan(log.seconds)


@pytest.mark.parametrize(
    'line',
    [
        b'5',
        b'[1]',
        b'{}',
        b'{"iter": "x", "step": null}',
        b'{"iter": 1}',
        b'{"step": [1]}',
        b'\xff\xfe',
        b'[' * 100000,
    ],
)
def test_odd_lines_of_a_log_are_passed_over(tmp_path, line):
    folder = tmp_path / 'a/vis_data'
    folder.mkdir(parents=True)
    good = b'{"coco/bbox_mAP": 0.5, "step": 1}\n{"iter": 3, "time": 0.5}\n'
    (folder / 'scalars.json').write_bytes(good + line + b'\n')
    log = read_log(tmp_path)
    assert log.last() == 0.5 and len(log.metrics) == 1
    assert log.iterations == 3 and log.seconds == 0.5


def test_a_metric_may_be_named_without_its_prefix():
    names = ['coco/bbox_mAP', 'coco/bbox_mAP_50']
    assert choose_metric([names, names], 'bbox_mAP_50') == 'coco/bbox_mAP_50'
    with pytest.raises(ValueError, match="did you mean 'coco/bbox_mAP'"):
        choose_metric([names, names], 'bbox_map')


def test_curves_are_those_of_all_restarts(tmp_path):
    for name, steps in (('a', (1, 2)), ('b', (2, 3))):
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        lines = [
            dict(iter=step, loss=1 / step, name=name, lr=len(name + name))
            for step in steps
        ] + [{'coco/bbox_mAP': 0.5, 'step': 1}]
        if name == 'b':
            lines[0]['loss'] = 7
        text = '\n'.join(map(json.dumps, lines))
        (folder / 'scalars.json').write_text(text + '\n{"iter": 4, ')
    curves = read_curves(tmp_path)
    assert curves['loss'] == {1: 1.0, 2: 7.0, 3: 1 / 3}
    assert set(curves) == {'iter', 'loss', 'lr'}
