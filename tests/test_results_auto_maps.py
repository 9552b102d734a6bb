"""Maps and vectors on a tenth of CIFAR-10 with weights that set themselves."""

import pytest
from result_page import block, check_settings, grid, load, rows, section

from luminet_mm.report import weight_table

NAME = 'cifar10_auto_methods'
SECOND = 'cifar10_auto_second_look'
HEADING = 'Maps and vectors with weights that set themselves'
METRIC = 'accuracy/top1'
TEXT = section(HEADING)


@pytest.fixture(scope='module')
def found():
    table = weight_table.join(load(NAME), published=load('cifar10_methods'))
    return {row['group']: row for row in table}


@pytest.fixture(scope='module')
def second():
    """One run each, in percent."""
    return {
        name: entry[METRIC]['last'] for name, entry in load(SECOND).items()
    }


def test_the_table_is_of_the_raw_numbers(found):
    assert block(NAME) == weight_table.markdown([*found.values()], 'top-1')


@pytest.mark.parametrize(('name', 'seeds'), [(NAME, {2, 3}), (SECOND, {1})])
def test_the_settings_are_those_of_the_grid(name, seeds):
    assert set(load(name)) == set(grid(name))
    check_settings(name)
    assert {len(each[METRIC]['last']) for each in load(name).values()} == seeds


def test_who_is_above_and_below(found):
    student = found['student']
    above = {
        name
        for name, row in found.items()
        if min(row['last']) > max(student['last'])
    }
    below = {n for n, row in found.items() if row['mean'] < student['mean']}
    assert len(found) == 24
    assert len(above) == 13 and len(below) == 9
    by_hand = found['student']['published_mean']
    before = {n for n, r in found.items() if r['published_mean'] < by_hand}
    assert len(before) == 8 and before - below == {'semckd', 'simkd'}
    assert (
        'each run of 13 of the 23 methods is above each of the student'
    ) in TEXT
    assert 'nine means are below it, eight with the published weights' in TEXT


def test_who_gains_and_loses_most_by_it(found):
    student = found['student']
    gained = {
        name: (row['mean'] - student['mean'])
        - (row['published_mean'] - student['published_mean'])
        for name, row in found.items()
    }
    order = sorted(gained, key=gained.get)
    assert order[-4:] == ['reviewkd', 'semckd', 'simkd', 'fsp']
    assert order[0] == 'cwd'
    low, *_, high = sorted(gained[name] for name in order[-4:])
    assert (
        f'FSP, SimKD, SemCKD and ReviewKD gain {low:.1f} to {high:.1f} points '
        'more than by hand'
    ) in TEXT
    assert f'CWD loses {-gained["cwd"]:.1f}' in TEXT


def test_a_second_look(found, second):
    """The nine below, with a lower share, and over ten epochs."""
    (_, *shown) = rows(HEADING, width=4)
    alone = load('cifar10_logits')['student'][METRIC]['last'][0]
    *shown, last = shown
    assert last == [
        'student alone',
        f'{found["student"]["last"][0]:.1f}',
        '—',
        f'{alone:.1f}',
    ]
    titles = {row['title']: row['group'] for row in found.values()}
    names = [titles[title] for title, *_ in shown]
    assert {f'{name}_long' for name in names} <= set(second)
    assert len(names) == len(second) / 2 == 9
    for name, (_, *cells) in zip(names, shown, strict=True):
        (low,), (long,) = second[f'{name}_share0.3'], second[f'{name}_long']
        assert cells == [
            f'{found[name]["last"][0]:.1f}',
            f'{low:.1f}',
            f'{long:.1f}',
        ]


def test_ten_epochs_are_enough_for_seven(second):
    alone = load('cifar10_logits')['student'][METRIC]['last']
    assert f'{min(alone):.1f} to {max(alone):.1f}' in TEXT
    long = {
        n.removesuffix('_long'): v[0] for n, v in second.items() if 'long' in n
    }
    above = {name for name, value in long.items() if value > max(alone)}
    assert len(above) == 7 and long.keys() - above == {'fsp', 'cc'}
    assert min(alone) < long['fsp'] < max(alone) and long['cc'] < min(alone)
    sdd = load('cifar10_logits')['sdd'][METRIC]
    assert f'SDD, {sdd["mean"]:.1f} ± {sdd["std"]:.1f}' in TEXT
    best = {n for n in long if long[n] > sdd['mean'] - 2 * sdd['std']}
    assert best == {'mgd', 'ab', 'norm'}


def test_a_lower_share_in_two_epochs(found, second):
    low = {
        name.removesuffix('_share0.3'): value[0]
        for name, value in second.items()
        if 'share' in name
    }
    better = {n for n in low if low[n] > found[n]['last'][0]}
    assert len(better) == 8
    alone = found['student']['last'][0]
    assert {n for n in low if low[n] > alone} == {'vid', 'mgd'}
    assert 'a share of 0.3 is better for eight of the nine' in TEXT
