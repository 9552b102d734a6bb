"""docs/results.md: weights that set themselves, against the raw numbers."""

from result_page import (
    PAGE,
    SPEED,
    check_settings,
    grid,
    load,
    percent,
    rows,
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
TEXT = ' '.join(PAGE.split())


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
