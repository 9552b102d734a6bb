"""The plan of step times against ranks on this machine."""

import json
import os
from types import SimpleNamespace

import pytest
from result_page import SPEED, load, rows

from luminet_mm.timing import scaling_check
from luminet_mm.timing.cores import CoresError
from luminet_mm.timing.network import BUCKET, MIB, Cluster, communication
from luminet_mm.timing.scaling_check import compare, main, run

LINK = Cluster(2, 2, 1e8, 1e8, 1e-4)


class Fake:
    """A process whose times are known: they get longer with each turn."""

    def __init__(self, seconds, log=None, name=''):
        self.seconds, self.log, self.name, self.turn = seconds, log, name, 0

    def send(self, order):
        name, argument = order
        if self.log is not None:
            self.log.append(f'{self.name} {name}')
        if name == 'parts':
            self.said = (0.85 * self.seconds, 0.15 * self.seconds)
        elif name == 'all_reduce':
            self.said = LINK.all_reduce(argument)
        else:
            self.said = argument * self.seconds

    def recv(self):
        return self.said


def test_measured_and_planned_are_over_as_many_single_processes():
    """Two processes at once take 1.25 s a step, two ranks together 2 s."""
    log = []
    alone = [Fake(1.0, log, 'a'), Fake(1.25, log, 'b')]
    team = [Fake(2.0, log, 'x'), Fake(1.5, log, 'y')]
    sizes = 30 * MIB // 4, [8000, 8000]
    row = compare(alone, {2: team}, sizes, rounds=3, steps=4)[2]
    assert row['measured'] == dict(median=1.6, low=1.6, high=1.6)
    assert row['shared'] == 1.25
    plan = communication(LINK, 30 * MIB, sizes[1])
    expected = plan.step(0.85 * 1.25, 0.15 * 1.25) / 1.25
    assert row['predicted'] == round(expected, 3) > 1.02
    assert row['off'] == round(expected / 1.6 - 1, 3)
    # a round: one process, two of them, two ranks; the first one warms up
    round_ = ['a steps', 'a steps', 'b steps', 'x steps', 'y steps']
    assert log[: 4 * 5] == round_ * 4
    assert 'x all_reduce' in log and BUCKET == 25 * MIB


def test_the_first_round_does_not_count(monkeypatch):
    turns = iter([9.0, 1.0, 2.0, 4.0])

    class Slow(Fake):
        def send(self, order):
            self.seconds = next(turns) if order[0] == 'steps' else 1.0
            super().send(order)

    team = [Slow(1.0), Fake(0.0)]
    row = compare([Fake(1.0)] * 2, {2: team}, (1, []), 3, 1)[2]
    assert row['measured'] == dict(median=2.0, low=1.0, high=4.0)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('--ranks 1 2', '--ranks: one rank is what the others are compared'),
        ('--ranks 2 4', 'too few: 4 False'),
    ],
)
def test_what_it_refuses(capsys, arguments, message):
    def too_few(count, busy):
        raise CoresError(f'too few: {count} {busy}')

    with pytest.raises(SystemExit):
        main(['a.py', *arguments.split()], too_few)
    assert message in capsys.readouterr().err


def test_it_prints_and_writes_what_it_found(tmp_path, monkeypatch, capsys):
    row = dict(
        measured=dict(median=1.2, low=1.1, high=1.3),
        predicted=1.08,
        off=-0.1,
        shared=1.01,
    )
    called = []
    monkeypatch.setattr(
        scaling_check, 'run', lambda *args: called.append(args) or {2: row}
    )
    out = tmp_path / 'out.json'
    command = f'a.py --ranks 2 --rounds 7 --steps 5 --busy --json {out}'
    main(command.split(), lambda count, busy: [3, 4][:count])
    assert called == [('a.py', [2], (2, (240, 320)), [3, 4], 7, 5)]
    assert '| 2 | 1.200 (1.100 to 1.300) | 1.080 | -10.0% | 1.010 |' in (
        capsys.readouterr().out
    )
    found = json.loads(out.read_text())
    assert found['ranks'] == {'2': row} and found['busy'] is True


def test_two_gloo_ranks_of_a_small_detector(config, tmp_path):
    """Figures of a busy machine say nothing: only their form is looked at."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip('it takes two cores')
    path = tmp_path / 'cfg.py'
    config('detector').dump(path)
    # a fork does not import everything again
    found = run(str(path), [2], (1, (64, 64)), cores[:2], 1, 1, 'fork')
    row = found[2]
    assert row['measured']['median'] > 0 and row['predicted'] > 1
    expected = row['predicted'] / row['measured']['median'] - 1
    assert row['off'] == pytest.approx(expected, abs=2e-3)


def test_a_process_ends_before_its_pipe():
    """Or it would print that the pipe has ended."""
    done = []
    process = SimpleNamespace(
        kill=lambda: done.append('kill'), join=lambda: done.append('join')
    )
    pipe = SimpleNamespace(close=lambda: done.append('close'))
    scaling_check._end(process, pipe)
    assert done == ['kill', 'join', 'close']


def test_the_page_has_what_was_measured():
    row = load('scaling_check_digits')['ranks']['2']
    (_, *shown), (four, *_) = rows('Several ranks', page=SPEED, width=4)[1:]
    each = row['measured']
    assert shown == [
        f'{each["median"]:.2f} ({each["low"]:.2f} to {each["high"]:.2f})',
        f'{row["predicted"]:.2f}',
        f'{100 * row["off"]:.0f} %'.replace('-', '−'),
    ]
    assert four == '4'
