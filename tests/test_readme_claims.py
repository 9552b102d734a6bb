"""Each sentence of the README that compares, against the raw numbers.

``CLAIMS`` names the test of each. A sentence without one fails.
"""

import re
import statistics
from pathlib import Path

import pytest
import result_page

from luminet_mm.methods import METHODS
from luminet_mm.report.verdict import Comparison

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
RESULTS = re.search(r'<!-- results -->\n(.*?)<!-- /results -->', README, re.S)[
    1
]
CLAIMS = {
    'A small Faster R-CNN on digits in scenes': 'test_same_number_of_tries',
    'Compared on 64 boxes': (
        'test_results_own_boxes.py::test_what_other_pages_say_of_it'
    ),
    'From 64 [cached boxes]': (
        'test_results_box_cache.py::test_what_other_pages_say_of_it'
    ),
    "With the teacher's boxes and its RPN": (
        'test_results_boxes.py::test_readme_has_the_same_figure'
    ),
    'The default of `tools/distill.py`': (
        'test_results_own_boxes.py::test_what_pages_say_of_the_recipe'
    ),
    'A one-stage student on the same data': (
        'test_results_one_stage.py::test_readme_has_the_same_figures'
    ),
    'On the two-stage student five seeds': 'test_lumi_net_and_dist',
    'On a tenth of CIFAR-10': (
        'test_results_logits.py::test_readme_has_the_same_figures'
    ),
    'every method had the same number of tries': 'test_same_number_of_tries',
}
COMPARES = (
    r'\d|\bbest\b|\bfirst\b|\bworse\b|\bbetter\b|\bwell\b|\bseparate\b|'
    r'\bsame number\b|\bgain'
)


def text():
    return result_page.one_line(README)


def sentences():
    """Those of the results, without the table and the targets of links."""
    words = re.sub(r'^\|.*$', '', RESULTS, flags=re.M)
    words = result_page.one_line(re.sub(r'\]\([^)]*\)', ']', words))
    return re.split(r'(?<=[.:]) (?=[A-Z])', words)


def last(name, group, metric='coco/bbox_mAP'):
    return result_page.load(name)[group][metric]['last']


def order(name, metric='coco/bbox_mAP'):
    """The groups of a grid, the best first."""
    groups = result_page.load(name)
    means = {
        key: statistics.fmean(group[metric]['last'])
        for key, group in groups.items()
        if metric in group
    }
    return sorted(means, key=lambda key: -means[key])


@pytest.mark.parametrize('sentence', sentences())
def test_a_sentence_that_compares_has_its_test(sentence):
    if not re.search(COMPARES, sentence):
        return
    if sentence.startswith('Most methods are compared on equal terms'):
        return  # it names the pages of the measurements
    found = [test for start, test in CLAIMS.items() if start in sentence]
    assert found, f'{sentence!r} has no test in CLAIMS'
    for name in found:
        file, _, function = name.rpartition('::')
        source = (ROOT / 'tests' / (file or Path(__file__).name)).read_text()
        assert f'def {function}(' in source


def test_the_table_has_its_test():
    """tests/test_results.py compares its cells with the page's table."""
    source = (ROOT / 'tests/test_results.py').read_text('utf-8')
    assert "README.md').read_text" in source and '<!-- results -->' in source


def test_how_many_methods_there_are():
    assert 'KD, DKD, DIST and some fifty others' in text()
    assert 45 <= len(METHODS) - 4 <= 55


def test_same_number_of_tries():
    assert 'every method had the same number of tries' in text()
    tried = result_page.load('digits_settings')
    methods = ('kd', 'dkd', 'dist', 'luminet')
    counts = {
        sum(key.startswith(f'{method}_tau') for key in tried)
        for method in methods
    }
    assert len(counts) == 1 and counts.pop() > 1
    for group in ('frcnn_student', *(f'{each}_frcnn' for each in methods)):
        assert len(last('digits', group)) == 5


def test_lumi_net_and_dist():
    assert (
        'On the two-stage student five seeds cannot separate LumiNet from '
        'DIST with weights found by hand;'
    ) in text()
    found = Comparison(
        last('digits', 'luminet_frcnn'), last('digits', 'dist_frcnn')
    )
    assert found.kind == 'open'
    runs = [last('digits_auto_methods', name) for name in ('luminet', 'dist')]
    auto = Comparison(*runs)
    means = (f'{100 * statistics.fmean(each):.1f}' for each in runs)
    assert auto.apart and f'{auto.p:.3f}' == '0.008'
    assert (
        'with weights that set themselves they do ({} against {} AP, p = .008,'
    ).format(*means) in text()
