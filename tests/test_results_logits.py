"""Methods on logits on a tenth of CIFAR-10: the page against raw numbers."""

import statistics

import pytest
from result_page import ROOT, block, check_settings, grid, load, section, words

from luminet_mm.report import weight_table
from luminet_mm.report.verdict import Comparison

HEADING = 'Every method on logits, a tenth of CIFAR-10'
MAPS = ('sdd', 'dist_plus')  # what reads maps too
KINDS = dict(student='better', kd='open', dkd='open', dist='open', sdd='open')
HEADLINE = ('luminet', 'kd', 'dkd', 'dist', 'sdd')


@pytest.fixture(scope='module')
def rows():
    return weight_table.join(load('cifar10_logits'))


@pytest.fixture(scope='module')
def last(rows):
    """Accuracies by method, with the weight that sets itself."""
    return {row['group']: row['last'] for row in rows}


def spread(values):
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return f'{mean:.1f} ± {deviation:.1f}'


def test_the_tables_are_of_the_raw_numbers(rows):
    assert block('cifar10_logits') == weight_table.markdown(rows, 'top-1')
    found = weight_table.differences(rows, HEADLINE)
    assert block('cifar10_logits_differences') == found


def test_the_settings_are_those_of_the_grid():
    check_settings('cifar10_logits')
    groups = grid('cifar10_logits')
    for group, entry in load('cifar10_logits').items():
        runs = {f'{group}_seed{seed}' for seed in groups[group].seeds}
        assert {*entry['runs'], *entry['missing']} == runs


def test_seeds(rows):
    """Five for those that are compared, as the page says."""
    found = {row['group']: row for row in rows}
    five = {name for name, row in found.items() if len(row['last']) == 5}
    assert five == {'student', *HEADLINE}
    assert {len(row['last']) for row in rows} == {3, 5}
    assert all(len(row['published']) in (0, 1) for row in rows)
    text = section(HEADING)
    assert (
        'Methods in the second table have five seeds, the others three' in text
    )


def test_every_method_is_above_the_student(last):
    """By its mean, and 15 with each run above each."""
    assert len(last) == 18
    alone = last['student']
    others = {name: last[name] for name in last if name != 'student'}
    mean = statistics.fmean(alone)
    assert all(statistics.fmean(each) > mean for each in others.values())
    near = {n: v for n, v in others.items() if min(v) <= max(alone)}
    assert near.keys() == {'mlld', 'ttm'}
    for values in near.values():
        below = [max(alone) - value for value in values if value < max(alone)]
        assert len(below) == 1 and 0.05 < below[0] < 0.35
    text = section(HEADING)
    assert (
        "each run of 15 of the 17 methods is above each of the student's"
        in (text)
    )
    assert 'one run of each is 0.1 to 0.3 points below' in text


def test_published_weights(rows):
    """One run each; the gains are those of 'auto' at the same seed."""
    (alone,) = (row['last'][0] for row in rows if row['group'] == 'student')
    once = {row['group']: row for row in rows if row['published']}
    assert len(once) == 17
    below = {name for name, row in once.items() if row['published'][0] < alone}
    assert below == {'normkd', 'mlld', 'ttm', 'rld'}
    gains = {
        name: row['last'][0] - row['published'][0]
        for name, row in once.items()
    }
    assert sum(gain > 0 for gain in gains.values()) == 15
    text = section(HEADING).replace('−', '-')
    assert (
        'four of the 17 methods end below the student: NormKD, MLLD, TTM and '
        "RLD. 15 of the 17 have more with `'auto'` at that seed"
    ) in text
    four = [gains.pop(name) for name in below]
    lskd = gains.pop('lskd')
    low, high = min(gains.values()), max(gains.values())
    assert (
        f'these four {min(four):.1f} to {max(four):.1f} points, logit '
        f'standardisation {lskd:.1f}, and the other twelve from {low:.1f} to '
        f'{high:.1f}.'
    ) in text
    page = (ROOT / 'docs' / 'losses.md').read_text(encoding='utf-8')
    assert ('with their published weights four of them are not') in ' '.join(
        page.split()
    )


def test_lumi_net_among_those_on_logits(last):
    means = {name: statistics.fmean(values) for name, values in last.items()}
    order = sorted(means, key=means.get, reverse=True)
    assert [name for name in order if name not in MAPS][0] == 'luminet'
    assert order[0] == 'sdd'
    ours = last['luminet']
    kinds = {
        name: Comparison(ours, last[name]).kind
        for name in ('student', 'kd', 'dkd', 'dist', 'sdd')
    }
    assert kinds == KINDS
    above = {
        name: Comparison(last['sdd'], last[name]).kind for name in HEADLINE[:4]
    }
    assert above == dict.fromkeys(('kd', 'dkd', 'dist'), 'better') | dict(
        luminet='open'
    )
    assert all(means['sdd'] > means[name] for name in HEADLINE[:4])


def test_readme_has_the_same_figures(last):
    text = words('README.md')
    student, luminet, sdd = map(
        spread, (last['student'], last['luminet'], last['sdd'])
    )
    said = (
        'On a tenth of CIFAR-10, with weights that set themselves, each run '
        f'of 15 of 17 methods is above each of a ResNet-20 alone ({student}); '
        f'LumiNet has {luminet}, SDD {sdd}'
    )
    assert said in text
    assert len(last) == 18
