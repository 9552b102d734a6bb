"""Accuracy and cost of a grid's methods come into one table."""

import json

import cv2
import pytest

from luminet_mm.analysis import method_table


def group(last, **options):
    mean = sum(last) / len(last)
    entry = dict(last=last, best=last, mean=mean, std=0.5)
    return {'options': options, 'accuracy/top1': entry}


@pytest.fixture
def files(tmp_path):
    """A student, a method better than it, and one that is worse."""
    summary = dict(
        student=group([50.0, 52.0]),
        kd=group(
            [40.0, 41.0],
            **{
                'train_cfg.max_epochs': 2,
                'model.distill.loss_kd.type': 'luminet_mm.KDLoss',
                'model.distill.loss_kd.signal': 'logits',
            },
        ),
        vid=group(
            [60.0, 61.0],
            **{
                'model.distill.loss_vid.type': 'luminet_mm.VIDLoss',
                'model.distill.loss_vid.signal': ['backbone.layer1'],
            },
        ),
    )
    steps = dict(
        student=dict(seconds=0.2, ratio=1.0, extra_parameters=0),
        kd=dict(seconds=0.306, ratio=1.5, extra_parameters=0),
        vid=dict(seconds=0.4, ratio=2.004, extra_parameters=16240),
    )
    for name, content in (('summary', summary), ('steps', steps)):
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    return tmp_path


def load(folder):
    return tuple(
        json.loads((folder / f'{name}.json').read_text())
        for name in ('summary', 'steps')
    )


def test_table(files, capsys):
    picture = files / 'methods.png'
    method_table.main(
        [
            str(files / 'summary.json'),
            str(files / 'steps.json'),
            '--name=top-1',
            f'--png={picture}',
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        '| | top-1 | by seed | s/step | / student | extra parameters |',
        '|---|---|---|---|---|---|',
        '| VID | 60.5 ± 0.5 | 60.0, 61.0 | 0.40 | 2.00 | 16,240 |',
        '| **student alone** | 51.0 ± 0.5 | 50.0, 52.0 | 0.20 | 1.00 | 0 |',
        '| KD | 40.5 ± 0.5 | 40.0, 41.0 | 0.31 | 1.50 | 0 |',
    ]
    image = cv2.imread(str(picture))
    assert image is not None and image.std() > 5


def test_fractions_are_shown_in_percent(files):
    summary, steps = load(files)
    assert [row['reads'] for row in method_table.join(summary, steps)] == [
        'maps',
        'none',
        'logits',
    ]
    for entry in summary.values():
        entry['coco/bbox_mAP'] = dict(mean=0.201, std=0.01, last=[0.201])
        del entry['accuracy/top1']
    rows = method_table.join(summary, steps)
    assert rows[0]['mean'] == pytest.approx(20.1)
    assert '| 20.1 | 20.1 |' in method_table.markdown(rows, 'AP')


def test_runs_without_a_result_are_told(files):
    """A mean of those that did not diverge says so."""
    summary, steps = load(files)
    summary['kd']['missing'] = ['kd_seed2']
    text = method_table.markdown(method_table.join(summary, steps), 'top-1')
    assert '| 40.0, 41.0 (1 missing) |' in text
    assert text.count('missing') == 1


def test_what_a_method_reads():
    """Two-stage detectors as well; `student` where the names differ."""
    reads = method_table._reads
    assert reads({}) == 'none'
    assert reads(dict(signal='roi.cls_score')) == 'logits'
    assert reads(dict(signal='roi.feats')) == 'vectors'
    assert reads(dict(signal=['backbone.layer3', 'logits'])) == 'maps'
    assert reads(dict(student='neck.0', teacher='backbone.layer3')) == 'maps'


def test_a_group_that_was_not_timed(files):
    summary, steps = load(files)
    del steps['vid']
    with pytest.raises(ValueError, match='`vid` was not timed'):
        method_table.join(summary, steps)
