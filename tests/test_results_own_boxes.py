"""docs/results.md: boxes that the live teacher chooses, by raw numbers."""

import pytest
from mmengine.config import Config
from result_page import (
    ROOT,
    SPEED,
    check_settings,
    grid,
    load,
    one_line,
    percent,
    rows,
    section,
    seeds_of,
    spread,
    under,
    words,
)

from luminet_mm.recipe.families import recipe_for
from luminet_mm.report.verdict import Comparison

HEADING = 'Boxes that the live teacher chooses'
NAME = 'digits_own_boxes'
METRIC = 'coco/bbox_mAP'
TITLES = {
    'student alone': 'student',
    'KD, 32 RoIs of the student': 'kd',
    'KD, 32 boxes of the teacher': 'kd_own_32',
    'KD, 64 boxes of the teacher': 'kd_own_64',
    'LumiNet, 32 RoIs of the student': 'luminet',
    'LumiNet, 32 boxes of the teacher': 'luminet_own_32',
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
    assert {*TITLES.values()} == {'student', 'kd', 'luminet', *load(NAME)}
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
        live, _, count = name.partition('_own_')
        assert options.pop('model.teacher.boxes_per_step') == int(count)
        live = cached[live]
        assert (group.config, options) == (live.config, live.options)


def test_what_is_said_of_luminet(entries):
    live, p = compared(entries, 'luminet_own_64', 'luminet')
    cached, other = compared(entries, 'luminet_own_64', 'luminet_cached')
    assert live.gain > 0 > cached.gain
    assert (
        f"LumiNet gains {100 * live.gain:.1f} AP with 64 on the student's 32 "
        f'RoIs ({p}), and is level with 64 cached boxes '
        f'({-100 * cached.gain:.1f} below, {other})'
    ) in section(HEADING)
    fewer, p = compared(entries, 'luminet_own_32', 'luminet')
    assert fewer.gain > live.gain / 2
    assert (
        f'With 32, as many as the student samples, LumiNet gains '
        f'{100 * fewer.gain:.1f} ({p}): most of it'
    ) in section(HEADING)


def test_what_is_said_of_kd(entries):
    fewer, p = compared(entries, 'kd_own_32', 'kd')
    more, other = compared(entries, 'kd_own_64', 'kd')
    assert min(fewer.p, more.p) > 0.05
    assert (
        f'KD gains {100 * fewer.gain:.1f} with 32 and {100 * more.gain:.1f} '
        f'with 64, which five seeds do not show ({p} and '
        f'{other.removeprefix("p = ")})'
    ) in section(HEADING)


RECIPE = 'Boxes that the teacher chooses, beside classes and RPN'
OWN = 'recipe_own_64'
RECIPES = {
    'student alone': None,
    '32 RoIs of the student': 'recipe',
    '64 boxes of the teacher': OWN,
}


def test_the_table_of_the_recipe(entries):
    groups = load(f'{NAME}_recipe')
    head, *shown = rows(RECIPE)
    assert head == ['', 'AP', 'AP50', 'AP75', 'AP by seed (0 to 4)']
    assert [title for title, *_ in shown] == [*RECIPES]
    (_, ap, *more, seeds), *others = shown
    entry = entries['student']
    assert [ap, *more, seeds] == [spread(entry), '–', '–', seeds_of(entry)]
    for title, ap, ap50, ap75, seeds in others:
        group = groups.pop(RECIPES[title])
        entry = group[METRIC]
        assert len(entry['last']) == 5 and not group['missing']
        assert (ap, seeds) == (spread(entry), seeds_of(entry))
        assert ap50 == percent(group[f'{METRIC}_50']['mean'])
        assert ap75 == percent(group[f'{METRIC}_75']['mean'])
    assert not groups


def test_the_recipe_was_run_with_the_settings_of_its_grid():
    name = f'{NAME}_recipe'
    check_settings(name)
    recipe, own = (grid(name)[key] for key in ('recipe', OWN))
    options = dict(own.options)
    assert options.pop('model.teacher.boxes_per_step') == 64
    assert (own.config, options) == (recipe.config, recipe.options)
    key = 'luminet_boxes_auto_1_3_rpn'
    assert recipe.to_dict() == grid('digits_boxes')[key].to_dict()


def test_the_recipe_is_that_of_distill_py():
    """Its losses and its boxes, as they were run."""
    student, teacher = (
        Config.fromfile(ROOT / 'configs' / f'frcnn_{name}_digits.py')
        for name in ('student', 'teacher')
    )
    now = recipe_for(student, teacher)
    assert now.losses['loss_luminet'].pop('loss_weight') == 'auto'
    now.losses['loss_luminet']['loss_weight'] = dict(share=1)  # the same
    options = grid(f'{NAME}_recipe')[OWN]['options']
    run = {
        key.rpartition('.')[2]: dict(loss)
        for key, loss in options.items()
        if key.startswith('model.distill.')
    }
    assert [*run.values()] == [*now.losses.values()]
    assert now.teacher == dict(
        boxes_per_step=options['model.teacher.boxes_per_step']
    )


def test_what_pages_say_of_the_recipe(entries):
    found = load(f'{NAME}_recipe')
    rois, own = (found[key] for key in ('recipe', OWN))
    ends = {name: group[METRIC] for name, group in found.items()}
    both, p = compared(ends, OWN, 'recipe')
    alone, _ = compared(entries, 'luminet_own_64', 'luminet')
    assert (
        f'The boxes of the teacher add {100 * both.gain:.1f} AP ({p}), '
        f'where they added {100 * alone.gain:.1f} to LumiNet alone'
    ) in section(RECIPE)
    hand = load('digits_boxes')['luminet_boxes_auto3_rpn'][METRIC]
    assert f'[had {spread(hand)}]' in section(RECIPE)
    readme, detectors, choosing, news = (
        words(name)
        for name in (
            'README.md',
            'docs/detectors.md',
            'docs/choosing.md',
            'CHANGELOG.md',
        )
    )
    means = [percent(each[METRIC]['mean']) for each in (own, rois)]
    student = percent(entries['student']['mean'])
    assert (
        f"reaches {spread(own[METRIC])}; the same losses on the student's own "
        f'RoIs reach {spread(rois[METRIC])}, and the student alone has '
        f'{student} ('
    ) in readme
    assert (
        f'[{spread(own[METRIC])} with and {spread(rois[METRIC])} without]'
    ) in detectors
    assert (
        f"{means[0]} against {student} AP; on the student's 32 RoIs {means[1]}"
    ) in choosing
    cost = load(f'{NAME}_recipe_cost')
    ratios = [f'{cost[name]["ratio"]:.2f}' for name in ('recipe', OWN)]
    assert (
        f'on digits {means[0]} AP instead of {means[1]}, and a step of '
        f'{ratios[1]} instead of {ratios[0]} times'
    ) in news
    assert {*cost} == {*grid(f'{NAME}_recipe_cost')}
    speed = one_line(under("Boxes of the teacher's choice", SPEED))
    assert (
        f"a step is {ratios[0]} times the student's on its own RoIs and "
        f'{ratios[1]} times on 64'
    ) in speed
    for name, text in (
        ('r101_r18_coco', f'of {student} AP on digits has {means[0]} ('),
        ('digits', f'mean is {means[0]} AP'),
    ):
        header = ROOT / 'configs' / f'luminet_boxes_frcnn_{name}.py'
        assert text in words(header)


def test_what_a_step_costs():
    found = load('digits_own_boxes_cost')
    assert {*found} == {*grid('digits_own_boxes_cost')}
    head, *shown = rows("Boxes of the teacher's choice", SPEED)
    assert head == ['LumiNet on', 'step / student step']
    names = ('luminet', 'luminet_own_32', 'luminet_own_64')
    ratios = [f'{found[name]["ratio"]:.2f}' for name in names]
    assert [ratio for _, ratio in shown] == ratios
    page = (ROOT / 'docs' / 'detectors.md').read_text(encoding='utf-8')
    assert (
        f"([{ratios[2]} times the student's step on digits](performance.md"
        f'#boxes-of-the-teachers-choice), {ratios[0]} without)'
    ) in one_line(page)


def test_what_other_pages_say_of_it(entries):
    own, live, student = (
        entries[name] for name in ('luminet_own_64', 'luminet', 'student')
    )
    readme, detectors, choosing = (
        words(name)
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
