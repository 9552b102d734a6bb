"""The whole page: its tables hold the logs' numbers, and nothing is loaded."""

import os
import re
import shutil
import subprocess

import pytest
from made_runs import LOSS, ap, config, pair, write_run
from parsed_page import Page, check_self_contained

from luminet_mm.report.gather import gather
from luminet_mm.report.page import render, write_report
from luminet_mm.report.runs import find_runs

ALONE, HIGHER = [0.17, 0.18, 0.16, 0.175], [0.2, 0.21, 0.22, 0.205]


def page_of(*folders, **options):
    report = gather(
        find_runs(folders), options.get('metric'), options.get('teacher')
    )
    page = Page(render(report))
    assert page.open == []
    check_self_contained(page)
    return page


@pytest.fixture
def teacher(tmp_path):
    boss = write_run(tmp_path / 'boss', config(depth=50), [0.3, 0.4])
    (boss / 'teacher.py').write_text('a = 1\n')
    return boss


def test_tables_hold_the_numbers_of_the_logs(tmp_path, teacher):
    page = page_of(pair(tmp_path / 'runs', ALONE, HIGHER), teacher)
    head, *_ = page.tables['results']
    assert head == [
        '',
        'runs',
        *('AP', 'AP50', 'AP75', 'AP small', 'AP medium'),
    ]
    results = page.table('results')
    assert results['student alone'][:3] == ['4', '17.1 ± 0.9', '37.1 ± 0.9']
    assert results['LumiNet'][:2] == ['4', '20.9 ± 0.9']
    assert results['teacher'] == ['1', '40.0', '60.0', '30.0', '5.0', '40.0']
    runs = page.tables['runs']
    assert ['LumiNet', 'luminet_seed2', '2', 'ended at epoch 2', '22.0'] in [
        row[:5] for row in runs
    ]
    assert len(runs) == 1 + 4 + 4 + 1
    assert page.table('gains')['LumiNet'][:2] == ['student alone', '+3.7']
    assert page.table('losses')['LumiNet'] == [
        'loss_luminet',
        'LumiNet',
        '1.0',
    ]
    assert page.table('costs')['student alone'][0] == '0.250'
    assert 'luminet_seed0' in page.text()


def test_the_verdict_comes_first(tmp_path, teacher):
    page = page_of(pair(tmp_path / 'runs', ALONE, HIGHER), teacher)
    assert page.texts['verdict'].startswith(
        'LumiNet ends 3.7 AP above the student alone (20.9 ± 0.9 over 4 runs '
        'against 17.1 ± 0.9 over 4 runs); each run is above each run'
    )


@pytest.mark.usefixtures('laid_out')
def test_plots_and_differences_are_there(tmp_path):
    page = page_of(pair(tmp_path, ALONE, HIGHER))
    assert page.tags.count('svg') >= 4
    text = render(gather(find_runs([tmp_path]), None, None))
    assert 'class="add">+' in text and 'LumiNetLoss' in text
    assert 'currentColor' in text and '#010203' not in text


def test_names_are_escaped(tmp_path):
    name = 'a<script>b&amp;"c'
    write_run(tmp_path / name, config(dict(loss_kd=LOSS)), [0.1, 0.2])
    write_run(tmp_path / 'student', config(), [{**ap(0.1), '<i>/x': 0.5}] * 2)
    page = page_of(tmp_path)
    assert [row[1] for row in page.tables['runs'][1:]] == ['student', name]
    assert '<i>/x' in page.tables['results'][0]
    assert 'i' not in page.tags


def test_one_run_alone_makes_a_page(tmp_path):
    page = page_of(write_run(tmp_path / 'only', config(), [0.1]))
    assert 'none of them is distilled' in page.texts['verdict']
    assert 'gains' not in page.tables


def test_a_distilled_run_alone_makes_a_page(tmp_path):
    settings = config(dict(loss_kd=LOSS))
    page = page_of(write_run(tmp_path / 'only', settings, [0.1, 0.2]))
    assert 'none of them is the student alone' in page.texts['verdict']


def test_classes_that_were_logged_are_a_table(tmp_path):
    for name, block in (('student', None), ('kd', dict(loss_kd=LOSS))):
        metrics = {**ap(0.2), 'coco/cat_precision': 0.3, 'coco/a_precision': 0}
        write_run(tmp_path / name, config(block), [metrics] * 2)
    page = page_of(tmp_path)
    assert page.table('logged-classes') == {
        'cat': ['30.0', '30.0'],
        'a': ['0.0', '0.0'],
    }
    assert 'coco/cat_precision' not in page.tables['results'][0]


def test_a_classifiers_metrics(tmp_path):
    for name, block, top in (
        ('student', None, 60.0),
        ('kd', dict(loss_kd=LOSS), 61.0),
    ):
        metrics = {'accuracy/top1': top, 'accuracy/top5': 90.0}
        write_run(tmp_path / name, config(block), [metrics] * 2)
    page = page_of(tmp_path)
    assert page.tables['results'][0] == ['', 'runs', 'top-1', 'top-5']
    assert 'ends 1.0 points of top-1 accuracy above' in page.texts['verdict']


def test_the_page_is_one_file(tmp_path):
    pair(tmp_path, ALONE, HIGHER)
    report = write_report([str(tmp_path)], tmp_path / 'new/report.html')
    assert report.best.title == 'LumiNet'
    text = (tmp_path / 'new/report.html').read_text()
    assert Page(text).table('results')['LumiNet'][0] == '4'
    # none but in the configs' text, which names the data and the teacher
    assert not re.search(r'(src|href|@import|url\()["\'=(]*https?:', text)


BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')


def test_a_browser_shows_the_tables(tmp_path):
    """The tables after a browser has parsed and laid out the page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip('no Chromium on this machine')
    pair(tmp_path / 'runs', ALONE, HIGHER)
    write_report([str(tmp_path / 'runs')], tmp_path / 'report.html')
    flags = ['--headless', '--disable-gpu', '--dump-dom', '--no-sandbox']
    shown = subprocess.run(
        [
            browser,
            *flags,
            f'--user-data-dir={tmp_path / "profile"}',
            (tmp_path / 'report.html').as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'HOME': str(tmp_path)},
    )
    page = Page(shown.stdout)
    ours = Page((tmp_path / 'report.html').read_text())
    assert page.tables == ours.tables
    assert page.texts['verdict'] == ours.texts['verdict']
    assert page.tags.count('svg') == ours.tags.count('svg')
