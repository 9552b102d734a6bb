"""docs/teacher-cache.md: students on rows of few bytes, by raw numbers."""

from result_page import ROOT, check_settings, grid, load, one_line, rows

from luminet_mm.report.verdict import Comparison

NAME = 'cifar10_cache_forms'
METRIC = 'accuracy/top1'
PAGE = (ROOT / 'docs' / 'teacher-cache.md').read_text(encoding='utf-8')
# each form's group, by that of float32, and how the page calls the pair
PAIRS = dict(
    luminet=('luminet_int8', 'LumiNet, int8'),
    dist=('dist_int8', 'DIST, int8'),
    kd=('kd_int8', 'KD, int8'),
    kd_tau1=('kd_tau1_top3', 'KD at tau 1, top3'),
)


def ends():
    return {name: group[METRIC]['last'] for name, group in load(NAME).items()}


def test_the_table():
    found = {name: group[METRIC] for name, group in load(NAME).items()}
    head, *shown = rows('How much is kept', PAGE, width=5)[-5:]
    assert head == ['', 'float32', 'by seed', 'in that form', 'by seed']
    assert [title for title, *_ in shown] == [
        title for _, title in PAIRS.values()
    ]
    for whole, (_, *cells) in zip(PAIRS, shown, strict=True):
        for name in (whole, PAIRS[whole][0]):
            entry = found.pop(name)
            spread = f'{entry["mean"]:.1f} ± {entry["std"]:.1f}'
            seeds = ', '.join(f'{each:.1f}' for each in entry['last'])
            assert [spread, seeds] == cells[:2]
            del cells[:2]
    assert not found


def test_they_were_run_with_the_settings_of_the_grid():
    check_settings(NAME)
    assert {*load(NAME)} == {*grid(NAME)}
    for name, group in load(NAME).items():
        count = 3 if name.startswith('kd') else 5
        assert group['runs'] == [f'{name}_seed{i}' for i in range(count)]


def test_what_int8_costs():
    """As groups within the noise, and yet lower seed by seed."""
    found, words, pairs = ends(), one_line(PAGE), []
    gaps, odds = [], []
    for whole, (form, _) in PAIRS.items():
        compare = Comparison(found[form], found[whole])
        assert compare.p > 0.05 and compare.gain < 0
        gaps.append(f'{-compare.gain:.1f}')
        odds.append(f'{compare.p:.2f}'.lstrip('0'))
        if form.endswith('int8'):
            pairs += [a < b for a, b in zip(found[form], found[whole])]
    assert (
        f'With int8 LumiNet ends {gaps[0]}, DIST {gaps[1]} and KD {gaps[2]} '
        'lower, which the groups cannot tell from chance (p = '
        f'{odds[0]}, {odds[1]} and {odds[2]})'
    ) in words
    assert f'lower in {sum(pairs)} of {len(pairs)} pairs' in words
    assert all(a < b for a, b in zip(found['dist_int8'], found['dist']))
    assert (
        f'Three of ten classes cost KD {gaps[3]} (p = {odds[3]}, three seeds)'
    ) in words
