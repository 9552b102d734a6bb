"""The verdict: better, worse, not told apart, too few runs."""

import itertools
import re
import statistics
from pathlib import Path

import pytest

from luminet_mm.report.verdict import Comparison, sentence

AP = 'coco/bbox_mAP'
ALONE = [0.160, 0.170, 0.172, 0.175, 0.180]
HIGHER = [0.195, 0.200, 0.205, 0.211, 0.214]


def say(distilled, alone, metric=AP):
    found = Comparison(distilled, alone)
    return sentence(found, metric, 'LumiNet', 'the student alone')


def test_better():
    assert say(HIGHER, ALONE) == (
        'LumiNet ends 3.4 AP above the student alone (20.5 ± 0.8 over 5 runs '
        'against 17.1 ± 0.7 over 5 runs); each run is above each run of the '
        'student alone (p = 0.008, 95 % interval +2.3 to +4.5).'
    )


def test_worse():
    text = say(ALONE, HIGHER)
    assert text.startswith('LumiNet ends 3.4 AP below the student alone')
    assert 'each run is below each run' in text
    assert Comparison(ALONE, HIGHER).kind == 'worse'


def test_better_although_runs_overlap():
    lower = [*ALONE[:4], 0.201]
    found = Comparison(HIGHER, lower)
    assert found.kind == 'better' and not found.apart
    assert 'each run' not in say(HIGHER, lower)


def test_not_told_apart():
    text = say([0.165, 0.171, 0.174, 0.177], ALONE[:4])
    assert 'but the runs cannot tell them apart (p = 0.' in text
    assert Comparison(ALONE, ALONE).kind == 'open'
    assert 'ends level with the student alone in AP' in say(ALONE, ALONE)


def test_too_few_runs_to_be_sure():
    """Two and two runs that are far apart differ so by chance in 1 of 3."""
    text = say([0.5, 0.6], [0.1, 0.2])
    assert '; each run is above each run of the student alone, but ' in text
    assert 'so few runs cannot settle it (p = 0.333' in text
    assert '0.33 is the least' in text and 'train more seeds' in text


@pytest.mark.parametrize(
    ('distilled', 'alone', 'what'),
    [
        ([0.2], [0.1], '(20.0 against 10.0, one run each). One run of each'),
        ([0.2, 0.3], [0.1], '10.0 in 1 run). One run of the student alone'),
        ([0.2], [0.1, 0.12], 'over 2 runs). One run of LumiNet'),
    ],
)
def test_one_run(distilled, alone, what):
    text = say(distilled, alone)
    assert f'{what} cannot tell that from chance: train more seeds.' in text
    assert 'p =' not in text
    found = Comparison(distilled, alone)
    assert (found.kind, found.p, found.interval()) == ('one', 1.0, None)


def test_p_counts_all_ways_to_deal_the_runs_out():
    ours, theirs = [3.0, 5.0, 8.0], [1.0, 4.0, 2.0, 2.5]
    everything = ours + theirs
    gain = statistics.fmean(ours) - statistics.fmean(theirs)
    ways = [
        statistics.fmean(chosen)
        - statistics.fmean(
            [v for i, v in enumerate(everything) if i not in places]
        )
        for places in itertools.combinations(range(7), 3)
        for chosen in [[everything[i] for i in places]]
    ]
    above = sum(way >= gain - 1e-9 for way in ways) / len(ways)
    below = sum(way <= gain + 1e-9 for way in ways) / len(ways)
    assert Comparison(ours, theirs).p == pytest.approx(2 * min(above, below))
    assert Comparison([5.0, 6, 7], [1.0, 2, 3]).p == pytest.approx(0.1)
    assert Comparison([5.0, 6, 7], [1.0, 2, 3]).least_p == pytest.approx(0.1)


def test_a_difference_is_called_one_below_five_percent():
    """Three and four runs apart: 2 ways of 35, and of 56 with five."""
    found = Comparison([5.0, 6, 7], [1.0, 2, 3, 4])
    assert found.p == pytest.approx(2 / 35) and found.kind == 'open'
    found = Comparison([5.0, 6, 7], [0.0, 1, 2, 3, 4])
    assert found.p == pytest.approx(2 / 56) and found.kind == 'better'


def test_the_docs_table_of_least_p():
    text = (Path(__file__).parents[2] / 'docs/report.md').read_text()
    rows = re.findall(r'^\| (\d) \| ([\d.]+) \|$', text, re.MULTILINE)
    assert len(rows) == 5
    for runs, least in rows:
        found = Comparison([1.0] * int(runs), [0.0] * int(runs))
        assert float(least) == pytest.approx(found.least_p, rel=0.05)


def test_runs_without_spread():
    text = say([0.3] * 5, [0.2] * 5)
    assert 'no spread between seeds' in text


def test_percent_and_other_units():
    text = say([70.0, 71.5], [60.0, 61.0], 'accuracy/top1')
    assert 'ends 10.2 points of top-1 accuracy above' in text
    assert '0.500' in say([0.5], [0.2], 'mine/score')
