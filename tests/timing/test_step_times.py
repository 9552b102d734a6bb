"""Steps of a grid's groups are timed in turns and counted."""

import json

import pytest
import tiny_cls
from mmengine.config import Config

from luminet_mm.timing import step_times

ROUNDS = 3


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A student, and two methods of which one trains a projection."""
    monkeypatch.chdir(tmp_path)
    common = dict(
        default_scope='mmpretrain',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    )
    Config(dict(model=tiny_cls.classifier(), **common)).dump('student.py')
    distiller = tiny_cls.distiller()
    distiller['distill'] = {}
    Config(dict(model=distiller, **common)).dump('pair.py')
    losses = dict(
        kd=dict(type='luminet_mm.KDLoss', signal='logits'),
        hint=dict(
            type='luminet_mm.FitNetLoss', signal='feats', connector='linear'
        ),
    )
    runs = dict(
        student=dict(config='student.py', seeds=[0, 1]),
        **{
            name: dict(
                config='pair.py',
                seeds=[0, 1],
                options={f'model.distill.loss_{name}': loss},
            )
            for name, loss in losses.items()
        },
    )
    (tmp_path / 'grid.py').write_text(f'runs = {runs!r}')
    return 'grid.py'


def test_a_grid(grid, capsys):
    step_times.main(
        f'{grid} --batch-size 4 --image-size 32 32 --rounds {ROUNDS} '
        '--json times.json'.split()
    )
    with open('times.json') as file:
        result = json.load(file)
    assert list(result) == ['student', 'kd', 'hint']
    assert result['student']['ratio'] == 1
    assert all(entry['seconds'] > 0 for entry in result.values())
    extra = [entry['extra_parameters'] for entry in result.values()]
    assert extra[:2] == [0, 0] and extra[2] > 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[0] for line in lines] == list(result)


def test_each_takes_its_turn():
    order = []
    steps = {
        name: lambda name=name: order.append(name) for name in ('a', 'b', 'c')
    }
    seconds = step_times.time_in_turns(steps, rounds=2)
    assert ''.join(order) == 'cababcbca'
    assert [len(each) for each in seconds.values()] == [2, 2, 2]


def test_a_turn_of_several_steps_counts_by_its_mean(monkeypatch):
    """One step in three takes seven seconds, the others one."""
    now = [0.0]
    counts = []

    class Clock:
        def __init__(self, device):
            pass

        def now(self):
            return now[0]

    def step():
        counts.append(1)
        now[0] += 7.0 if len(counts) % 3 == 0 else 1.0

    monkeypatch.setattr(step_times, 'Clock', Clock)
    seconds = step_times.time_in_turns({'a': step}, rounds=4, repeat=3)
    assert seconds == {'a': [3.0] * 4}
    assert len(counts) == 15  # with the round that warms up


def test_another_clock_may_be_read():
    readings = iter([0.0, 2.0, 10.0, 15.0])
    seconds = step_times.time_in_turns(
        {'a': lambda: None}, rounds=2, warmup=0, now=lambda: next(readings)
    )
    assert seconds == {'a': [2.0, 5.0]}


def test_ratios_are_taken_within_a_round():
    """A machine that slows down tenfold in between changes no ratio."""
    seconds = dict(student=[1.0, 10.0, 1.0], kd=[2.0, 20.0, 2.0])
    result = step_times.summarise(seconds, dict(student=0, kd=7))
    assert result['kd'] == dict(seconds=2.0, ratio=2.0, extra_parameters=7)


def test_a_grid_without_a_student(tmp_path):
    path = tmp_path / 'grid.py'
    path.write_text('runs = {}')
    with pytest.raises(ValueError, match='no group `student`'):
        step_times.build_steps(str(path), 4, (32, 32))
