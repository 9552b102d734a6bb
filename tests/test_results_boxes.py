"""docs/results.md: boxes beside classes, against the raw numbers."""

from statistics import mean, stdev

import pytest
from result_page import (
    PAGE,
    ROOT,
    check_settings,
    grid,
    load,
    one_line,
    percent,
    rows,
    seeds_of,
    spread,
    words,
)

from luminet_mm.report.verdict import Comparison

HEADING = 'Where things are: boxes beside classes'
HEADINGS = {'digits_boxes': HEADING, 'bccd_boxes': 'Boxes on blood cells'}
TITLES = {
    'boxes alone': 'boxes',
    'the RPN alone': 'rpn',
    'student alone': 'student',
    'LumiNet': 'luminet',
    'LumiNet + boxes, GIoU': 'luminet_boxes_giou',
    "LumiNet + boxes, `'auto'`, share 1": 'luminet_boxes_auto1',
    'LumiNet + boxes': 'luminet_boxes',
    "LumiNet + boxes, `'auto'`, share 3": 'luminet_boxes_auto3',
    "LumiNet + boxes, `'auto'`, shares 1 and 3": 'luminet_boxes_auto_1_3',
    "LumiNet + boxes + RPN, `'auto'`, shares 1, 3 and 3": (
        'luminet_boxes_rpn_auto'
    ),
    "LumiNet + boxes, `'auto'`, share 1, + RPN": 'luminet_boxes_auto1_rpn',
    "LumiNet + boxes, `'auto'`, share 3, + RPN": 'luminet_boxes_auto3_rpn',
    "LumiNet + boxes, `'auto'`, shares 1 and 3, + RPN": (
        'luminet_boxes_auto_1_3_rpn'
    ),
    'LumiNet + boxes + RPN': 'luminet_boxes_rpn',
    'LumiNet + boxes, weight 4': 'luminet_boxes_4',
    'LumiNet + boxes, weight 4, + RPN': 'luminet_boxes_4_rpn',
}
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')


@pytest.mark.parametrize('name', HEADINGS)
def test_the_table(name):
    summary = load(name)
    head, *shown = rows(HEADINGS[name], width=5)
    assert head[1:] == ['AP', 'AP50', 'AP75', 'AP by seed (0 to 4)']
    means = []
    for title, ap, ap50, ap75, seeds in shown:
        group = summary.pop(TITLES[title])
        entry = group['coco/bbox_mAP']
        assert len(entry['last']) == 5 and not group['missing']
        assert (ap, seeds) == (spread(entry), seeds_of(entry))
        assert ap50 == percent(group['coco/bbox_mAP_50']['mean'])
        assert ap75 == percent(group['coco/bbox_mAP_75']['mean'])
        means.append(entry['mean'])
    assert means == sorted(means) and not summary


@pytest.mark.parametrize('name', HEADINGS)
def test_the_sweep_has_the_settings_that_were_run(name):
    assert set(grid(name)) == set(load(name))
    check_settings(name)


def test_what_the_page_says_of_runs():
    runs = {
        name: group['coco/bbox_mAP']['last']
        for name, group in load('digits_boxes').items()
    }
    both, alone = runs['luminet_boxes'], runs['luminet']
    assert (
        min(both) > max(alone)
        and f'{20 * (sum(both) - sum(alone)):.1f}' == '3.0'
    )
    for share in (1, 3):
        auto = runs[f'luminet_boxes_auto{share}']
        assert min(auto) > max(alone)
        assert min(both) < max(auto) and min(auto) < max(both)
    assert max(runs['boxes']) < 0.18
    for name in ('', '_auto1', '_auto3'):
        pair, three = (
            100 * mean(runs[f'luminet_boxes{name}{more}'])
            for more in ('', '_rpn')
        )
        assert 1.0 <= round(three - pair, 1) <= 1.5
    means = {name: mean(each) for name, each in runs.items()}
    gain = (
        means['luminet_boxes_auto_1_3_rpn'] - means['luminet_boxes_auto_1_3']
    )
    assert f'{100 * gain:.1f}' == '0.4'
    best = means['luminet_boxes_auto3_rpn']
    assert best == max(means.values())
    assert f'{100 * (best - means["student"]):.1f}' == '7.7'
    assert means['luminet_boxes_auto_1_3'] < min(
        means[f'luminet_boxes_auto{share}'] for share in (1, 3)
    )
    assert abs(means['rpn'] - means['student']) < 0.005
    assert means['luminet_boxes_rpn_auto'] <= means['luminet_boxes_auto_1_3']
    assert mean(runs['boxes']) < mean(runs['student'])


def test_what_the_page_says_of_a_share_at_the_rpn():
    logs = load('digits_boxes_rpn')
    shares = logs['luminet_boxes_rpn_seed0']['share_rpn'].values()
    weights = logs['luminet_boxes_rpn_auto_seed0']['weight_rpn'].values()
    text = one_line(PAGE)
    assert f'there is {min(shares):.0f} to {max(shares):.0f} times' in text
    low, high = round(min(weights), 2), round(max(weights), 1)
    assert f'a weight of {low:g} to {high:g}' in text


def test_readme_has_the_same_figure():
    text = words('README.md')
    entry = load('digits_boxes')['luminet_boxes_auto3_rpn']['coco/bbox_mAP']
    assert f'by themselves, LumiNet has {spread(entry)}' in text


def without_classes(name, metric):
    scores = load('digits_boxes_class_free')
    return mean(scores[f'{name}_seed{i}'][metric] for i in range(5))


def test_the_table_without_classes():
    head, *shown = rows(HEADING, width=4)
    assert head == ['whatever the class', 'AP', 'AP50', 'AP75']
    for title, *cells in shown:
        assert cells == [
            percent(without_classes(TITLES[title], f'class_free/{key}'))
            for key in METRICS
        ]
    assert [row[0] for row in shown] == [
        'student alone',
        'boxes alone',
        'LumiNet',
        'LumiNet + boxes',
    ]


def test_both_are_of_the_same_runs():
    """The last checkpoints were tested again: AP is that of the log."""
    scores = load('digits_boxes_class_free')
    for name, group in load('digits_boxes').items():
        for i, value in enumerate(group['coco/bbox_mAP']['last']):
            entry = scores.get(f'{name}_seed{i}')
            assert entry is None or entry['coco/bbox_mAP'] == value


def test_what_the_page_says_of_classes():
    free = {
        name: [
            100 * without_classes(name, f'class_free/{key}') for key in METRICS
        ]
        for name in ('student', 'boxes', 'luminet', 'luminet_boxes')
    }
    summary = load('digits_boxes')
    with_classes = {
        name: 100 * summary[name]['coco/bbox_mAP_50']['mean'] for name in free
    }
    text = one_line(PAGE)
    assert (
        f'(AP50 {free["student"][1]:.1f}), and has a third with the right '
        f'class ({with_classes["student"]:.1f})'
    ) in text
    assert f'mends the classes ({with_classes["luminet"]:.1f})' in text
    gain = free['luminet_boxes'][2] - free['luminet'][2]
    assert f'the boxes gain {gain:.1f} at AP75' in text
    for each in (
        free['student'][1] - free['boxes'][1],
        with_classes['student'] - with_classes['boxes'],
    ):
        assert 3 < each < 5


def test_weights_tried_on_blood_cells():
    means = {
        name: percent(group['coco/bbox_mAP']['mean'])
        for name, group in load('bccd_boxes_settings').items()
    }
    head, *shown = rows('Weights tried on blood cells', width=5)
    assert head == ['weight of the boxes', '0', '2', '4', '8']
    names = {'without LumiNet': '', 'LumiNet 1': '1', 'LumiNet 4': '4'}
    for title, *cells in shown:
        luminet = names.pop(title)
        for box, cell in zip(head[1:], cells, strict=True):
            parts = [f'luminet_{luminet}'] * bool(luminet)
            parts += [f'boxes_{box}'] * (box != '0')
            key = '_'.join(parts) or 'student'
            assert cell == means.pop(key, '–'), key
    assert not names
    text = one_line(PAGE)
    for key, end in dict(
        luminet_1_boxes_4_rpn_1='with weight 1 ({})',
        luminet_1_boxes_4_rpn_4='with weight 4 ({})',
        auto_1_3='{} with shares of 1 and 3',
        auto_03_3='{} with 0.3 and 3',
    ).items():
        assert end.format(means.pop(key)) in text, key
    assert not means


def test_the_sweep_of_weights_has_the_settings_that_were_run():
    name = 'bccd_boxes_settings'
    assert set(grid(name)) == set(load(name))
    check_settings(name)


def test_what_the_page_says_of_blood_cells():
    runs = {
        name: group['coco/bbox_mAP']['last']
        for name, group in load('bccd_boxes').items()
    }
    means = {name: 100 * mean(each) for name, each in runs.items()}
    best = max(runs['student'])
    sure = [
        f'luminet_boxes_{name}'
        for name in ('4_rpn', 'rpn_auto', 'auto_1_3_rpn')
    ]
    assert all(min(runs[name]) > best for name in sure)
    assert [
        f'{each(means[name] for name in sure):.1f}' for each in (min, max)
    ] == ['53.1', '53.5']
    for name in ('boxes', 'luminet_boxes', 'luminet_boxes_4'):
        assert min(runs[name]) < best
    text = one_line(PAGE)
    pair = [f'luminet_boxes_auto{share}_rpn' for share in (1, 3)]
    assert all(min(runs[name]) < best for name in pair)
    shown = ' and '.join(f'{means[name]:.1f}' for name in pair)
    assert f'the RPN the means are {shown}' in text
    assert f'the RPN alone has {means["rpn"]:.1f}' in text
    name = 'luminet_boxes_auto_1_3_rpn'
    digits = {
        key: group['coco/bbox_mAP']['last']
        for key, group in load('digits_boxes').items()
    }
    gain = 100 * (mean(digits[name]) - mean(digits['student']))
    assert min(digits[name]) > max(digits['student'])
    assert (
        f'{means[name] - means["student"]:.1f} AP above the student here and '
        f'{gain:.1f} on digits, in each run'
    ) in text


def test_what_own_data_says_of_blood_cells():
    found = load('bccd_distill')
    text = (ROOT / 'docs' / 'own-data.md').read_text(encoding='utf-8')
    text = one_line(text)
    many = {3: 'three', 4: 'four', 5: 'five'}[len(found['seeds'])]
    student, distilled = (
        f'{100 * mean(found[name]):.1f} ± {100 * stdev(found[name]):.1f}'
        for name in ('student', 'distilled')
    )
    assert f'(AP {percent(found["teacher"])})' in text
    assert f'had {student} AP over {many} seeds' in text
    assert f'the distilled one, on its own RoIs, {distilled}' in text
    by_hand = load('bccd_boxes')
    own = spread(by_hand['student']['coco/bbox_mAP'])
    same = spread(by_hand['luminet_boxes_auto_1_3_rpn']['coco/bbox_mAP'])
    assert f'have {own} and' in text and f', {same}: the fitted' in text
    # within 1 AP of what was made by hand
    best = by_hand['luminet_boxes_auto_1_3_rpn']['coco/bbox_mAP']['mean']
    assert mean(found['distilled']) > best - 0.01


def test_what_own_data_says_of_boxes_that_the_teacher_chooses():
    found = load('bccd_distill_boxes')
    text = (ROOT / 'docs' / 'own-data.md').read_text(encoding='utf-8')
    text = one_line(text)
    rois, boxes = (
        f'{100 * mean(found[name]):.1f} ± {100 * stdev(found[name]):.1f}'
        for name in ('rois', 'boxes')
    )
    assert (
        len(found['seeds']) == len(found['rois']) == len(found['boxes']) == 3
    )
    assert f'(AP {percent(found["teacher"])}), the distilled' in text
    assert f'had {boxes} over three seeds, and {rois} without' in text
    gains = [
        100 * (own - other)
        for own, other in zip(found['boxes'], found['rois'], strict=True)
    ]
    assert f'gained, by {min(gains):.1f} to {max(gains):.1f} AP' in text
    assert Comparison(found['boxes'], found['rois']).p > 0.05
    assert f'they add {mean(gains):.1f} AP, over three' in ' '.join(
        PAGE.split()
    )
