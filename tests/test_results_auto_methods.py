"""Every method with a weight that sets itself: the page and raw numbers."""

import pytest
from result_page import (
    ROOT,
    block,
    check_settings,
    grid,
    load,
    percent,
    section,
)

from luminet_mm.report import weight_table

NAME = 'digits_auto_methods'
METRIC = 'coco/bbox_mAP'
TEXT = section('With weights that set themselves')
TITLES = {
    'MLLD': 'mlld',
    'TTM': 'ttm',
    'SKD': 'skd',
    'AT': 'at',
    'PKT': 'pkt',
    'CC': 'cc',
    'RKD': 'rkd',
    'SP': 'sp',
    'SRD': 'srd',
}


@pytest.fixture(scope='module')
def found():
    rows = weight_table.join(load(NAME), published=load('digits_methods'))
    return {row['group']: row for row in rows}


def test_the_table_is_of_the_raw_numbers(found):
    table = weight_table.markdown([*found.values()], 'AP', 'by hand')
    assert block(NAME) == table


@pytest.mark.parametrize('name', [NAME, 'digits_auto_low_share'])
def test_the_settings_are_those_of_the_grid(name):
    assert set(load(name)) == set(grid(name))
    check_settings(name)
    for entry in load(name).values():
        assert len(entry[METRIC]['last']) == 2


def test_who_is_above_the_student(found):
    student = found['student']
    above = [
        row
        for row in found.values()
        if min(row['last']) > max(student['last'])
    ]
    assert len(found) == 35
    assert (
        f'{len(above)} of the 34 methods each run is above each of the '
        "student's"
    ) in TEXT
    page = (ROOT / 'docs' / 'choosing.md').read_text(encoding='utf-8')
    assert (
        f'digits each run of {len(above)} of 34 methods is then above each '
        "of the student's"
    ) in ' '.join(page.split())
    both = [row for row in found.values() if row['published_mean']]
    gains = [
        sum(row[key] - student[key] for row in both) / (len(both) - 1)
        for key in ('mean', 'published_mean')
    ]
    auto, by_hand = (f'{gain:.1f}' for gain in gains)
    assert (
        f'the {len(both) - 1} that have both weights gain {auto} AP on '
        f'average, and {by_hand} by hand'
    ) in TEXT


def gained(found, name):
    """How much more a method is above the student than by hand."""
    student, row = found['student'], found[name]
    return (row['mean'] - student['mean']) - (
        row['published_mean'] - student['published_mean']
    )


def test_who_gains_most_by_it(found):
    names = dict(mgd=5e-7, fgd=1, lskd=0.2, ofd=1e-4)
    low, *_, high = sorted(gained(found, name) for name in names)
    assert (
        'MGD, FGD, logit standardisation and OFD gain '
        f'{low:.1f} to {high:.1f} AP more'
    ) in TEXT
    logs = load(f'{NAME}_logs')
    factors = [
        logs[name]['weight']['450'] / by_hand
        for name, by_hand in names.items()
    ]
    for name, by_hand in names.items():
        options = load('digits_methods')[name]['options']
        key = f'model.distill.loss_{name}.loss_weight'
        assert options[key] == by_hand
    assert (
        f'The weights they end with are {min(factors):.0f} to '
        f'{max(factors):.0f} times those'
    ) in TEXT
    assert f'CWD loses {-gained(found, "cwd"):.1f}' in TEXT


def test_who_ends_below(found):
    student = found['student']
    below = {n for n, row in found.items() if row['mean'] < student['mean']}
    assert below == {'kd', 'hard', *TITLES.values()}
    near = {n for n in below if student['mean'] - found[n]['mean'] < 0.35}
    assert near == {'kd', 'hard', 'srd'}
    worst = {n for n in below if max(found[n]['last']) < min(student['last'])}
    assert worst == {'mlld', 'ttm', 'sp', 'pkt'}
    assert (
        'Eleven means are below the student: KD, hard labels and SRD by 0.3 '
        'at most'
    ) in TEXT
    assert 'MLLD, TTM, SP and PKT with each run below each of its runs' in TEXT
    by_hand = [
        row['published_mean'] - student['published_mean']
        for name, row in found.items()
        if name in ('sp', 'pkt', 'rkd', 'cc', 'at')
    ]
    assert (
        f'{min(by_hand):.1f} to {max(by_hand):.1f} AP from the student'
    ).replace('-', '−') in TEXT


def test_what_the_logs_say():
    logs = load(f'{NAME}_logs')
    last = {
        name: (log['grad_norm']['450'], log['loss_cls']['450'])
        for name, log in logs.items()
    }
    norm, _ = last.pop('mlld')
    rest = sorted(each for each, _ in last.values())
    assert (
        f'the gradient of all parameters is {norm:.0f} long at the end, and '
        f'{rest[0]:.1f} to {rest[-1]:.1f} with the others'
    ) in TEXT
    _, own = last['ttm']
    assert (
        f'ends at {own:.2f} with TTM, {last["wttm"][1]:.2f} with WTTM, and '
        f'{last["student"][1]:.2f} for the student alone'
    ) in TEXT


def test_a_lower_share(found):
    low = load('digits_auto_low_share')
    assert set(low) == {f'{name}_share0.3' for name in TITLES.values()}
    for title, name in TITLES.items():
        ap = percent(low[f'{name}_share0.3'][METRIC]['mean'])
        assert f'{title} {ap}' in TEXT
    student = found['student']
    means = {
        name: 100 * low[f'{name}_share0.3'][METRIC]['mean']
        for name in TITLES.values()
    }
    assert all(means[name] > found[name]['mean'] for name in means)
    above = {
        name
        for name in means
        if 100 * min(low[f'{name}_share0.3'][METRIC]['last'])
        > max(student['last'])
    }
    assert above == {'cc', 'srd', 'at'}
    higher = {name for name in means if means[name] > student['mean']}
    assert higher - above == {'ttm', 'rkd'}
    assert "CC, SRD and AT then have each run above each of the student's" in (
        TEXT
    )
    assert 'PKT, SP, SKD and MLLD stay below' in TEXT
