"""The whole command, with trainings that only leave their logs."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from shapes import write_coco

from luminet_mm.preflight.faults import ConfigError
from luminet_mm.recipe import command
from luminet_mm.recipe.budget import BudgetError, Costs
from luminet_mm.recipe.command import distill
from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.request import ROLES, Request


@pytest.fixture
def beside():
    """Names of those that are trained side by side."""
    return []


@pytest.fixture
def scores():
    """What the report says of a teacher without a run."""
    return {}


@pytest.fixture
def ran(monkeypatch, beside, scores):
    """Names of the runs, which are trained in no time."""
    names = []

    def run(cells, out, slots, watch):
        beside.append([cell.name for cell in cells][:slots])
        for cell in cells:
            names.append(cell.name)
            folder = Path(out) / cell.name / '1' / 'vis_data'
            folder.mkdir(parents=True, exist_ok=True)
            metrics = {'step': 1, 'coco/bbox_mAP': 0.01 * len(names)}
            (folder / 'scalars.json').write_text(json.dumps(metrics))
            (Path(out) / cell.name / 'settings.json').touch()
            (Path(out) / cell.name / 'finished').touch()
            watch({cell.name: 'finished'})

    monkeypatch.setattr(command, 'run_cells', run)
    monkeypatch.setattr(command, 'measure', lambda *_: Costs(0.5, 0.01, 3, 4))
    monkeypatch.setattr(
        command,
        'write_report',
        lambda folders, path: SimpleNamespace(
            path=path, teacher_scores=dict(scores)
        ),
    )
    monkeypatch.setattr(
        command, 'verdict', lambda report: [f'see {report.path}']
    )
    monkeypatch.setattr(sys, 'argv', ['tools/distill.py', 'cells'])
    return names


@pytest.fixture
def asked(tmp_path):
    root = write_coco(tmp_path / 'set', {'train': 12, 'val': 4})

    def request(**kwargs):
        return Request(str(root), str(tmp_path / 'out'), **kwargs)

    return request


def test_all_runs_and_their_table(ran, asked, capsys):
    distill(asked(epochs=2))
    assert ran == ['teacher', 'student', 'distilled']
    out = capsys.readouterr().out
    assert '12 images to train on, 4 to validate with, 2 classes' in out
    assert 'epochs       teacher 6, student 2, distilled 2' in out
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert ['distilled', '3.0'] in rows
    assert ['see', str(Path(asked().out) / 'report.html')] in rows


def test_students_side_by_side_after_their_teacher(ran, asked, beside):
    distill(asked(epochs=2), slots=2)
    assert [each for each in beside if each] == [
        ['teacher'],
        ['student', 'distilled'],
    ]


def test_nothing_is_timed_if_nobody_asks(ran, asked, monkeypatch):
    monkeypatch.setattr(command, 'measure', None)
    distill(asked(epochs=2), timed=False)
    assert ran == ['teacher', 'student', 'distilled']


def test_the_table_is_told_of_a_teacher_without_a_run(
    ran, asked, scores, monkeypatch
):
    scores['coco/bbox_mAP'] = 0.5
    seen = []
    monkeypatch.setattr(
        command, 'table', lambda *args: seen.append(args) or []
    )
    distill(asked(epochs=2))
    assert seen == [(Path(asked().out), ran, scores)]


@pytest.fixture
def quick(ran, monkeypatch):
    """The same, and the configs of every role are empty."""
    written = []

    def write(request, data, epochs):
        written.append(epochs)
        request.folder.mkdir(parents=True, exist_ok=True)
        for role in ROLES:
            text = 'train_dataloader = dict(batch_size=5)\n'
            text += f'train_cfg = dict(max_epochs={epochs})\n'
            request.config(role).write_text(text)
        return []

    monkeypatch.setattr(command, 'write_configs', write)
    monkeypatch.setattr(command, '_check', lambda request: None)
    return written


def test_a_budget_sets_the_epochs(quick, ran, asked):
    distill(asked(budget='10m', baseline=False))
    assert ran == ['teacher', 'distilled']
    plan = json.loads(Path(asked().out, 'plan.json').read_text())['plan']
    assert quick == [134, plan['epochs']] and plan['images'] == 12


def test_a_short_budget_trains_nothing(quick, ran, asked):
    with pytest.raises(BudgetError, match='needs --budget'):
        distill(asked(budget='30s'))
    assert not ran


def test_write_only_trains_and_times_nothing(quick, ran, asked, monkeypatch):
    monkeypatch.setattr(command, 'measure', None)
    distill(asked(), write_only=True)
    assert not ran and quick == [134]


def test_an_edited_config_is_kept(quick, ran, asked, monkeypatch):
    distill(asked(epochs=2), write_only=True)
    path = asked().config('student')
    text = path.read_text().replace('=2', '=7')
    path.write_text(text)
    steps = {}
    make = command.Progress
    monkeypatch.setattr(
        command,
        'Progress',
        lambda *args: steps.update(args[2]) or make(*args),
    )
    distill(asked(epochs=2))
    assert path.read_text() == text and quick == [2]
    assert steps == dict(teacher=6, student=21, distilled=6)


def test_all_have_finished_once(quick, ran, asked, capsys):
    distill(asked(epochs=2))
    distill(asked(epochs=2))
    out = capsys.readouterr().out
    assert 'as planned before' in out and 'all runs have finished' in out
    assert len(ran) == 3
    rows = [line.split() for line in out.splitlines()]
    assert rows.count(['distilled', '3.0']) == 2


def test_an_interruption_says_how_to_go_on(quick, asked, monkeypatch, capsys):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, 'run_cells', stop)
    with pytest.raises(SystemExit) as caught:
        distill(asked(epochs=2))
    assert caught.value.code == 130
    assert 'python tools/distill.py cells' in capsys.readouterr().out


def test_data_are_checked_before_anything_is_timed(ran, asked, monkeypatch):
    request = asked()
    path = Path(request.data) / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    content['annotations'][0].pop('area')
    path.write_text(json.dumps(content))
    monkeypatch.setattr(command, 'measure', None)
    with pytest.raises(ConfigError, match='instances_train.json.*area'):
        distill(request)
    assert not ran


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(student=('a.py',)), '--student needs --teacher'),
        (dict(budget='1h', epochs=3), 'are two lengths'),
        (dict(budget='soon'), 'write it as 30m'),
    ],
)
def test_what_does_not_go_together(asked, kwargs, message):
    with pytest.raises(DataError, match=message):
        distill(asked(**kwargs))
