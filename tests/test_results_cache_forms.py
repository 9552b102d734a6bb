"""docs/teacher-cache.md: students on rows of few bytes, by raw numbers."""

from result_page import ROOT, check_settings, grid, load, one_line, rows

from luminet_mm.report.verdict import Comparison

NAME = 'cifar10_cache_forms'
METRIC = 'accuracy/top1'
PAGE = (ROOT / 'docs' / 'teacher-cache.md').read_text(encoding='utf-8')


def test_the_table():
    found = {name: group[METRIC] for name, group in load(NAME).items()}
    head, *shown = rows('How much is kept', PAGE, width=5)[-3:]
    assert head == ['', 'float32', 'by seed (0 to 2)', 'int8', 'by seed']
    for title, *cells in shown:
        name = title.lower()
        for form in (name, f'{name}_int8'):
            entry = found.pop(form)
            spread = f'{entry["mean"]:.1f} ± {entry["std"]:.1f}'
            seeds = ', '.join(f'{each:.1f}' for each in entry['last'])
            assert [spread, seeds] == cells[:2]
            del cells[:2]
    assert not found


def test_they_were_run_with_the_settings_of_the_grid():
    check_settings(NAME)
    assert {*load(NAME)} < {*grid(NAME)}
    for name, group in load(NAME).items():
        assert group['runs'] == [f'{name}_seed{i}' for i in range(3)]


def test_int8_is_within_the_noise():
    found = {name: group[METRIC]['last'] for name, group in load(NAME).items()}
    text = one_line(PAGE)
    gaps, odds = [], []
    for name in ('luminet', 'dist'):
        compare = Comparison(found[f'{name}_int8'], found[name])
        assert compare.p > 0.05 and compare.gain < 0
        gaps.append(f'{-compare.gain:.1f}')
        odds.append(f'{compare.p:.3f}'.lstrip('0'))
    assert (
        f'With int8 LumiNet ends {gaps[0]} and DIST {gaps[1]} lower, which '
        f'three seeds cannot tell from chance (p = {odds[0]} and {odds[1]})'
    ) in text
