"""docs/results.md: boxes that the live teacher chooses, by raw numbers."""

import pytest
from result_page import (
    ROOT,
    check_settings,
    grid,
    load,
    percent,
    rows,
    section,
    seeds_of,
    spread,
)

from luminet_mm.report.verdict import Comparison

HEADING = 'Boxes that the live teacher chooses'
NAME = 'digits_own_boxes'
METRIC = 'coco/bbox_mAP'
TITLES = {
    'KD, 64 boxes of the teacher': 'kd_own_64',
    'LumiNet, 64 boxes of the teacher': 'luminet_own_64',
}


@pytest.fixture(scope='module')
def entries():
    found = {**load('digits_box_cache'), **load(NAME)}
    return {name: group[METRIC] for name, group in found.items()}


def compared(entries, one, other):
    found = Comparison(entries[one]['last'], entries[other]['last'])
    return found, f'p = {found.p:.3f}'.replace('= 0', '= ')


def test_the_table(entries):
    head, *shown = rows(HEADING)
    assert head == ['', 'AP', 'AP by seed (0 to 4)']
    assert [title for title, *_ in shown] == [*TITLES]
    assert {*TITLES.values()} == {*load(NAME)}
    for title, ap, seeds in shown:
        entry = entries[TITLES[title]]
        assert len(entry['last']) == 5
        assert (ap, seeds) == (spread(entry), seeds_of(entry))


def test_the_sweep_has_the_settings_that_were_run():
    assert {*grid(NAME)} == {*load(NAME)}
    check_settings(NAME)
    cached = grid('digits_box_cache')
    for name, group in grid(NAME).items():
        options = dict(group.options)
        assert options.pop('model.teacher.boxes_per_step') == 64
        live = cached[name.removesuffix('_own_64')]
        assert (group.config, options) == (live.config, live.options)


def test_what_is_said_of_luminet(entries):
    live, p = compared(entries, 'luminet_own_64', 'luminet')
    cached, other = compared(entries, 'luminet_own_64', 'luminet_cached')
    assert live.gain > 0 > cached.gain
    assert (
        f"LumiNet gains {100 * live.gain:.1f} AP on the student's RoIs ({p}) "
        f'and is level with cached boxes ({-100 * cached.gain:.1f} below, '
        f'{other})'
    ) in section(HEADING)


def test_what_is_said_of_kd(entries):
    live, p = compared(entries, 'kd_own_64', 'kd')
    assert live.p > 0.05
    assert (
        f'KD gains {100 * live.gain:.1f}, which five seeds do not show ({p})'
    ) in section(HEADING)


def test_what_other_pages_say_of_it(entries):
    own, live, student = (
        entries[name] for name in ('luminet_own_64', 'luminet', 'student')
    )
    readme, detectors, choosing = (
        ' '.join((ROOT / name).read_text(encoding='utf-8').split())
        for name in ('README.md', 'docs/detectors.md', 'docs/choosing.md')
    )
    assert (
        'Compared on 64 boxes of each image that [the teacher chooses]'
        '(docs/detectors.md#which-boxes-are-compared), LumiNet has '
        f'{spread(own)} ([five seeds]'
    ) in readme
    assert (
        f'LumiNet has {spread(own)} AP with them and {spread(live)} '
        'without, on the 32 RoIs that the student samples'
    ) in detectors
    assert (
        f'{percent(own["mean"])} against {percent(student["mean"])} AP; on '
        f"the student's 32 RoIs {percent(live['mean'])}"
    ) in choosing
