"""Every method with a weight that sets itself: the page and raw numbers."""

from statistics import fmean

import pytest
from result_page import (
    ROOT,
    block,
    check_settings,
    grid,
    load,
    one_line,
    percent,
    section,
)

from luminet_mm.report import weight_table
from luminet_mm.report.verdict import Comparison

NAME = 'digits_auto_methods'
HEADLINE = ['luminet', 'lskd', 'dist', 'dkd', 'kd']
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
    for group, entry in load(name).items():
        logits = group == 'student' or (
            entry['options'].get(f'model.distill.loss_{group}.signal')
            == 'roi.cls_score'
        )
        assert len(entry[METRIC]['last']) == (5 if logits else 2)


def beside(found, row):
    """The student's runs of a method's seeds."""
    return found['student']['last'][: len(row['last'])]


def over(found, name, other='student'):
    return Comparison(found[name]['last'], found[other]['last'])


def on_logits(found):
    """The losses on the RoIs' logits, best first."""
    return [
        name
        for name, row in found.items()
        if len(row['last']) == 5 and name != 'student'
    ]


def test_differences_on_the_logits_of_rois(found):
    names = on_logits(found)
    assert len(names) == 15 and HEADLINE[:2] == names[:2]
    table = weight_table.differences([*found.values()], HEADLINE)
    assert block('digits_auto_differences') == table
    apart = [name for name in names if over(found, name).apart]
    assert apart == [
        *('luminet', 'lskd', 'nkd', 'normkd', 'ldrld', 'dist', 'dkd', 'mlld')
    ]
    assert (
        'they are LumiNet, logit standardisation, NKD, NormKD, LDRLD, DIST '
        'and DKD.'
    ) in TEXT
    wttm, rld = over(found, 'wttm'), over(found, 'rld')
    assert (
        f'WTTM and RLD are {wttm.gain:.1f} and {rld.gain:.1f} above on '
        f'average (p = {wttm.p:.3f} and {rld.p:.3f})'.replace('0.0', '.0')
    ) in TEXT
    others = {name: over(found, 'luminet', name) for name in HEADLINE[1:]}
    assert others.pop('lskd').p > 0.05
    assert all(each.p < 0.05 for each in others.values())


def ahead(found, name):
    """How far a mean is above the student's."""
    row = found[name]
    return row['mean'] - fmean(beside(found, row))


def test_who_is_above_the_student(found):
    above = [
        row
        for row in found.values()
        if min(row['last']) > max(beside(found, row))
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
    ) in one_line(page)
    both = {n: row for n, row in found.items() if row['published_mean']}
    student = both.pop('student')['published_mean']
    auto = f'{fmean(ahead(found, name) for name in both):.1f}'
    by_hand = fmean(row['published_mean'] for row in both.values()) - student
    assert (
        f'the {len(both)} that have both weights gain {auto} AP on '
        f'average, and {by_hand:.1f} by hand'
    ) in TEXT


def gained(found, name):
    """How much more a method is above the student than by hand."""
    by_hand = found['student']['published_mean']
    return ahead(found, name) - (found[name]['published_mean'] - by_hand)


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
    gains = {name: ahead(found, name) for name in found if name != 'student'}
    below = {name for name, gain in gains.items() if gain < -1e-9}
    assert below == {*TITLES.values()} - {'ttm'}
    assert (
        'Eight means are below the student: SRD by '
        f'{-gains["srd"]:.1f}, which two runs cannot tell from nothing'
    ) in TEXT
    worst = {
        name
        for name in below
        if max(found[name]['last']) < min(beside(found, found[name]))
    }
    assert worst == {'mlld', 'sp', 'pkt'}
    assert 'MLLD, SP and PKT with each run below each of its runs' in TEXT
    level = sorted(gains[name] for name in ('kd', 'hard', 'ttm', 'wsld'))
    least = min(over(found, name).p for name in ('kd', 'hard', 'ttm', 'wsld'))
    assert (
        'Five runs cannot tell KD, hard labels, TTM and WSLD, '
        f'{level[0]:.1f} to {level[-1]:.1f} above, from the student (p = '
        f'{least:.3f} and more)'.replace('= 0', '= ')
    ) in TEXT
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
    student = found['student']['last'][:2]
    means = {
        name: 100 * low[f'{name}_share0.3'][METRIC]['mean']
        for name in TITLES.values()
    }
    assert all(means[name] > fmean(found[name]['last'][:2]) for name in means)
    above = {
        name
        for name in means
        if 100 * min(low[f'{name}_share0.3'][METRIC]['last']) > max(student)
    }
    assert above == {'cc', 'srd', 'at'}
    higher = {name for name in means if means[name] > fmean(student)}
    assert higher - above == {'ttm', 'rkd'}
    assert "CC, SRD and AT then have each run above each of the student's" in (
        TEXT
    )
    assert 'PKT, SP, SKD and MLLD stay below' in TEXT
