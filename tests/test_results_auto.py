"""docs/results.md: weights that set themselves, against the raw numbers."""

from statistics import fmean

import pytest
from result_page import (
    PAGE,
    SPEED,
    check_settings,
    grid,
    load,
    one_line,
    percent,
    rows,
    section,
)

HEADING = 'Weights that set themselves'
TITLES = {
    'LumiNet': 'luminet',
    'KD': 'kd',
    'DIST': 'dist',
    'NKD': 'nkd',
    'FitNet': 'fitnet',
    'FGFI': 'fgfi',
    'AT': 'at',
    'LumiNet + boxes': 'luminet_boxes',
}
SHARES = ('0.3', '1', '2', '3')
TEXT = one_line(PAGE)


def ap(name):
    group = load('digits_auto_settings')[name]
    assert group['coco/bbox_mAP']['last'] and not group['missing']
    return percent(group['coco/bbox_mAP']['mean'])


def test_the_tables():
    head, *shown = rows(HEADING, width=5)
    assert head == ['share', *SHARES]
    assert [row[0] for row in shown] == list(TITLES)
    for title, *cells in shown:
        assert cells == [ap(f'{TITLES[title]}_share{x}') for x in SHARES]
    head, *shown = rows(HEADING, width=4)
    assert head[1:] == [
        'follows within 50 steps',
        'within 200',
        'measured once',
    ]
    for title, *cells in shown:
        kinds = ('share1', 'slow', 'frozen')
        assert cells == [ap(f'{TITLES[title]}_{kind}') for kind in kinds]


def test_the_sweep_has_the_settings_that_were_run():
    name = 'digits_auto_settings'
    assert set(grid(name)) == set(load(name))
    check_settings(name)


def test_who_ends_below_the_student():
    student = float(ap('student'))
    assert f'where the student alone has {student}' in TEXT
    below = {
        share: [
            title
            for title, name in TITLES.items()
            if float(ap(f'{name}_share{share}')) < student
        ]
        for share in SHARES
    }
    assert below.pop('1') == ['AT']
    assert set(map(tuple, below.values())) == {('KD', 'AT')}


def test_shares_that_are_best():
    best = {
        title: max(SHARES, key=lambda share: float(ap(f'{name}_share{share}')))
        for title, name in TITLES.items()
    }
    for title in ('FitNet', 'FGFI', 'LumiNet + boxes'):
        assert best[title] == '3'
    assert [best[title] for title in ('LumiNet', 'KD', 'NKD')] == list('211')
    by_hand = load('digits_settings')
    for title, tuned in (('LumiNet', 20.4), ('DIST', 18.8), ('KD', 17.7)):
        tries = [
            group['coco/bbox_mAP']['mean']
            for name, group in by_hand.items()
            if name.startswith(f'{TITLES[title]}_')
        ]
        assert percent(max(tries)) == str(tuned)
        assert f'{title} {"had " if title == "LumiNet" else ""}{tuned}' in TEXT


def test_weights_over_time():
    def weight(run, step):
        (found,) = [
            entry['weight_luminet']
            for entry in load('digits_auto_weights')[f'luminet_{run}_seed100']
            if entry['step'] == step
        ]
        return f'{found:.1f}'

    assert (
        f'at step 150 it is {weight("share1", 150)} with the first and '
        f'{weight("slow", 150)} with the second, and at the end '
        f'{weight("share1", 450)} and {weight("slow", 450)}'
    ) in TEXT
    assert f'stays at {weight("frozen", 450)}' in TEXT


def test_where_a_weight_can_be_measured():
    """Six losses by five rules, and what the page says of them."""
    check_settings('digits_weight_rules')
    found = load('digits_weight_rules')
    assert set(found) == set(grid('digits_weight_rules'))
    ap = {
        name: 100 * group['coco/bbox_mAP']['mean']
        for name, group in found.items()
    }
    assert all(
        len(group['coco/bbox_mAP']['last']) == 1 for group in found.values()
    )
    text = section('Where a weight can be measured')
    assert f'the student alone {ap["student"]:.1f}' in text
    rules = ('signal', 'layer', 'network', 'value', 'auto')
    (_, *shown) = rows('Where a weight can be measured')
    *shown, last = shown
    names = [TITLES[title] for title, *_ in shown]
    for name, (_, *cells) in zip(names, shown, strict=True):
        assert cells == [f'{ap[f"{name}_{rule}"]:.1f}' for rule in rules]
    means = {
        rule: fmean(ap[f'{name}_{rule}'] for name in names) for rule in rules
    }
    assert last == ['mean', *(f'{mean:.1f}' for mean in means.values())]
    three = [means[rule] for rule in ('signal', 'layer', 'network')]
    assert f'their means differ by {max(three) - min(three):.1f} AP' in text
    assert max(three) - means['auto'] < 0.2
    lost = {n: ap[f'{n}_signal'] - ap[f'{n}_value'] for n in names}
    assert (
        f'DIST loses {lost["dist"]:.1f} AP and FitNet {lost["fitnet"]:.1f}'
    ) in text
    best = {
        n
        for n in names
        if ap[f'{n}_auto'] == max(ap[f'{n}_{rule}'] for rule in rules)
    }
    assert best >= {'kd', 'nkd'}


def test_the_weights_of_the_rules():
    """Those of the grid are the raw numbers, to three digits."""
    weights = load('digits_rule_weights')
    options = load('digits_weight_rules')
    factors = {}
    for name, by_rule in weights.items():
        for rule in ('signal', 'layer', 'network', 'value'):
            key = f'model.distill.loss_{name}.loss_weight'
            weight = options[f'{name}_{rule}']['options'][key]
            assert weight == pytest.approx(by_rule[rule], rel=5e-3)
        assert by_rule['share'] == 0
        factor = by_rule['value'] / by_rule['signal']
        factors[name] = max(factor, 1 / factor)
    *_, dist, fitnet = sorted(factors, key=factors.get)
    assert (dist, fitnet) == ('dist', 'fitnet')
    assert (
        f'factors of {factors["dist"]:.1f} and {factors["fitnet"]:.1f}'
    ) in section('Where a weight can be measured')


def test_what_it_costs():
    """Both relative to the student's step, as on the page; target 1.03."""
    times = load('digits_auto_cost')
    assert set(times) == set(grid('digits_auto_cost'))
    _, *shown = rows('A weight that sets itself', SPEED)
    assert [TITLES[row[0]] for row in shown] == ['luminet', 'fitnet', 'fgfi']
    for title, *cells in shown:
        name = TITLES[title]
        fixed, auto = (times[key]['ratio'] for key in (name, f'{name}_auto'))
        assert cells == [f'{fixed:.3f}', f'{auto:.3f}', f'{auto / fixed:.2f}']
        assert auto / fixed < 1.03
