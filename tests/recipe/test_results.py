"""The table at the end."""

import json

from luminet_mm.recipe.results import table


def write(out, role, metrics, finished=True):
    folder = out / role / '2026' / 'vis_data'
    folder.mkdir(parents=True)
    lines = [dict(iter=20, time=0.5, step=20), dict(step=1, **metrics)]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    if finished:
        (out / role / 'finished').touch()


def test_detectors(tmp_path):
    for role, value in (('teacher', 0.5), ('distilled', 0.25)):
        write(tmp_path, role, {'coco/bbox_mAP': value})
    write(tmp_path, 'student', {'coco/bbox_mAP': 0.1}, finished=False)
    lines = table(tmp_path, ['teacher', 'student', 'distilled'], {})
    assert [line.split() for line in lines] == [
        ['AP', 's/step'],
        ['teacher', '50.0', '0.50'],
        ['distilled', '25.0', '0.50'],
    ]


def test_classifiers(tmp_path):
    write(tmp_path, 'student', {'accuracy/top1': 71.25})
    lines = table(tmp_path, ['student'], {})
    assert lines[0].split() == ['top-1', 's/step']
    assert lines[1].split() == ['student', 'alone', '71.2', '0.50']


def test_nothing_has_finished(tmp_path):
    assert len(table(tmp_path, ['student'], {})) == 1


def test_a_teacher_that_was_given_has_scores_alone(tmp_path):
    write(tmp_path, 'distilled', {'coco/bbox_mAP': 0.25})
    lines = table(tmp_path, ['distilled'], {'coco/bbox_mAP': 0.5})
    assert [line.split() for line in lines[1:]] == [
        ['teacher', '50.0'],
        ['distilled', '25.0', '0.50'],
    ]
