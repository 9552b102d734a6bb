"""Cores for a measurement: which are free, and what is said if too few are."""

import os

import pytest

from luminet_mm.timing import cores
from luminet_mm.timing.cores import CoresError, idle_shares, take_cores

FOUR = {0, 1, 2, 5}


def shares(**idle):
    return lambda asked: {core: idle[f'c{core}'] for core in asked}


def test_only_free_cores_are_taken():
    idle = shares(c0=0.1, c1=0.95, c2=0.79, c5=0.8)
    assert take_cores(2, allowed=FOUR, idle=idle) == [1, 5]
    with pytest.raises(CoresError) as error:
        take_cores(3, allowed=FOUR, idle=idle)
    assert str(error.value) == (
        '3 ranks need as many free cores, and 2 of 4 are free (busy: core 0 '
        '90%, core 1 5%, core 2 21%, core 5 20%). Wait until nothing else '
        'runs, or take fewer ranks.'
    )


def test_busy_cores_are_taken_when_that_is_asked_for():
    assert take_cores(3, busy=True, allowed=FOUR, idle=1 / 1) == [0, 1, 2]


@pytest.mark.parametrize('busy', [True, False])
def test_no_more_ranks_than_cores(busy):
    with pytest.raises(CoresError, match=r'5 ranks .* use 4 \(0, 1, 2, 5\)\.'):
        take_cores(5, busy, allowed=FOUR)


def test_a_system_that_cannot_pin(monkeypatch):
    monkeypatch.delattr(os, 'sched_getaffinity')
    with pytest.raises(CoresError, match='on Linux alone'):
        take_cores(1)


def test_idle_time_is_that_between_two_readings(tmp_path, monkeypatch):
    """Core 0 works 30 of 40 ticks, one of them stolen; core 1 none."""
    path = tmp_path / 'stat'
    path.write_text(
        'cpu  1 1 1 1 1 1 1 1 9 9\n'
        'cpu0 100 10 10 500 50 0 0 0 7 7\n'
        'cpu1 100 10 10 500 50 0 0 0 7 7\n'
        'intr 1\n'
    )
    slept = []

    def later(seconds):
        slept.append(seconds)
        path.write_text(
            'cpu  1 1 1 1 1 1 1 1 9 9\n'
            'cpu0 120 15 14 506 54 0 0 1 90 90\n'
            'cpu1 100 10 10 500 50 0 0 0 7 7\n'
        )

    monkeypatch.setattr(cores.time, 'sleep', later)
    assert idle_shares({0, 1}, 2.5, str(path)) == {0: 10 / 40, 1: 1.0}
    assert slept == [2.5]


@pytest.mark.skipif(not os.path.exists('/proc/stat'), reason='Linux')
def test_this_machine_counts():
    (share,) = idle_shares({0}, 0.05).values()
    assert 0 <= share <= 1
