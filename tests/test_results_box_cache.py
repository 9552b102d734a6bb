"""docs/results.md: cached boxes beside the live teacher, by raw numbers."""

import pytest
from result_page import (
    ROOT,
    check_settings,
    grid,
    load,
    one_line,
    percent,
    rows,
    section,
    seeds_of,
    spread,
    words,
)

from luminet_mm.report.verdict import Comparison

HEADING = 'Cached boxes instead of the teacher'
NAMES = ('digits_box_cache', 'digits_box_cache_part')
METRIC = 'coco/bbox_mAP'
TITLES = {
    'student alone': 'student',
    'KD, live teacher': 'kd',
    'KD, 64 cached boxes': 'kd_cached',
    'KD, 32 of them in a step': 'kd_cached_32',
    'LumiNet, live teacher': 'luminet',
    'LumiNet, 64 cached boxes': 'luminet_cached',
    'LumiNet, 32 of them in a step': 'luminet_cached_32',
}


@pytest.fixture(scope='module')
def entries():
    found = {**load(NAMES[0]), **load(NAMES[1])}
    return {name: group[METRIC] for name, group in found.items()}


def test_the_table(entries):
    head, *shown = rows(HEADING)
    assert head == ['', 'AP', 'AP by seed (0 to 4)']
    assert [title for title, *_ in shown] == [*TITLES]
    assert set(TITLES.values()) == set(entries)
    for title, ap, seeds in shown:
        entry = entries[TITLES[title]]
        assert len(entry['last']) == 5
        assert (ap, seeds) == (spread(entry), seeds_of(entry))


@pytest.mark.parametrize('name', NAMES)
def test_the_sweep_has_the_settings_that_were_run(name):
    assert set(grid(name)) == set(load(name))
    check_settings(name)


def test_the_student_is_that_of_the_first_table(entries):
    first = load('digits')['frcnn_student'][METRIC]
    assert entries['student']['last'] == first['last']
    assert 'on the processor of the first table' in section(HEADING)


def compared(entries, one, other):
    return Comparison(entries[one]['last'], entries[other]['last'])


def test_what_is_said_of_all_boxes(entries):
    kd, luminet = (
        compared(entries, f'{name}_cached', name) for name in ('kd', 'luminet')
    )
    assert kd.apart and luminet.apart
    assert f'{kd.p:.3f}' == f'{luminet.p:.3f}' == '0.008'
    assert (
        'each of the five runs is above each with the live teacher: KD by '
        f'{100 * kd.gain:.1f} AP, LumiNet by {100 * luminet.gain:.1f}, both '
        'p = .008'
    ) in section(HEADING)


def test_what_is_said_of_half_of_them(entries):
    kd = compared(entries, 'kd_cached_32', 'kd')
    luminet = compared(entries, 'luminet_cached_32', 'luminet')
    text = section(HEADING)
    assert kd.apart
    assert (
        f'KD is still {100 * kd.gain:.1f} AP above the live teacher (p = '
        f'{kd.p:.3f})'.replace('= 0', '= ')
    ) in text
    fewer = compared(entries, 'luminet_cached', 'luminet_cached_32')
    assert (
        f'LumiNet is {100 * luminet.gain:.1f} above (p = {luminet.p:.3f}), '
        f'and {100 * fewer.gain:.1f} below all 64 (p = {fewer.p:.3f})'
    ).replace('= 0', '= ') in text
    own = compared(entries, 'kd_cached', 'kd_cached_32')
    page = (ROOT / 'docs' / 'teacher-cache.md').read_text(encoding='utf-8')
    assert (
        f'LumiNet [loses {100 * fewer.gain:.1f} AP]'
        '(results.md#cached-boxes-instead-of-the-teacher), and KD '
        f'{100 * own.gain:.1f}.'
    ) in one_line(page)


def test_what_other_pages_say_of_it(entries):
    cached, live, student = (
        entries[name] for name in ('luminet_cached', 'luminet', 'student')
    )
    pages = {
        name: words(name)
        for name in ('README.md', 'docs/teacher-cache.md', 'docs/choosing.md')
    }
    assert f'LumiNet has {spread(cached)} ([five seeds]' in pages['README.md']
    assert (
        f'LumiNet has {spread(cached)} AP with 64 cached boxes of each image, '
        f'and {spread(live)} with the live teacher'
    ) in pages['docs/teacher-cache.md']
    assert (
        f'{percent(cached["mean"])} against {percent(student["mean"])} AP; '
        f'with the live teacher {percent(live["mean"])}'
    ) in pages['docs/choosing.md']
