"""The tables of docs/results.md say what the runs logged."""

import re
import statistics

import pytest
from mmengine.config import Config
from result_page import (
    FOLDER,
    PAGE,
    ROOT,
    SPEED,
    block,
    check_settings,
    load,
    one_line,
    percent,
    rows,
    seeds_of,
    spread,
)

from luminet_mm.analysis import method_table

NAMES = {
    'student alone': 'frcnn_student',
    'KD': 'kd_frcnn',
    'DKD': 'dkd_frcnn',
    'DIST': 'dist_frcnn',
    'LumiNet': 'luminet_frcnn',
}


@pytest.mark.parametrize(
    ('heading', 'name'),
    [('Digits in scenes', 'digits'), ('Blood cells (BCCD)', 'bccd')],
)
def test_means_and_seeds(heading, name):
    summary = load(name)
    table = {row[0]: row[1:] for row in rows(heading)[1:] if row[0] in NAMES}
    assert len(table) == len(summary) == 5
    for title, (ap, ap50, ap75, seeds) in table.items():
        group = summary[NAMES[title]]
        entry = group['coco/bbox_mAP']
        assert ap == spread(entry)
        assert ap50 == percent(group['coco/bbox_mAP_50']['mean'])
        assert ap75 == percent(group['coco/bbox_mAP_75']['mean'])
        assert seeds == seeds_of(entry)


def test_one_class():
    names = [
        'student',
        'kd',
        'luminet_weak',
        'luminet',
        'luminet_sharp',
        'luminet_shared_weak',
        'luminet_shared',
        'luminet_rows_weak',
        'luminet_rows',
        'luminet_rows_sharp',
    ]
    summary = load('one_class')
    table = rows('Digits as one class', width=5)[1:]
    assert set(names) == set(summary)
    assert len(table) == len(names)
    grid = Config.fromfile(ROOT / 'configs' / 'sweeps' / 'one_class.py')
    for name, (_, tau, weight, ap, seeds) in zip(names, table, strict=True):
        entry = summary[name]['coco/bbox_mAP']
        assert seeds == seeds_of(entry)
        assert ap == (spread(entry) if len(entry['last']) > 1 else '–')
        assert len(entry['last']) == len(grid.runs[name].seeds)
        if name != 'student':
            assert float(tau) == grid.losses[name].tau
            assert float(weight) == grid.losses[name].loss_weight


def test_few_classes():
    names = ('student', 'luminet', 'shared', 'rows')
    sets = ('two-class', 'five-class', 'one-class_bccd')
    summary = load('few_classes')
    path = ROOT / 'configs' / 'sweeps' / 'few_classes.py'
    assert list(summary) == list(Config.fromfile(path).runs)
    assert len(summary) == len(names) * len(sets)
    table = rows('Two and five classes, and blood cells of one')[1:]
    for name, (_, *cells) in zip(names, table, strict=True):
        for data, *shown in zip(sets, cells[::2], cells[1::2], strict=True):
            entry = summary[f'{name}_{data}']['coco/bbox_mAP']
            assert len(entry['last']) == 3
            assert shown == [spread(entry), seeds_of(entry)]


def test_simulated_logits():
    found = load('few_class_logits')
    (_, *classes), *table = rows('On simulated logits')
    assert classes == list(found)
    weight, luminet = ', weight 4', 'LumiNet, weight 4, tau 1'
    names = {
        'teacher': 'teacher',
        'labels alone': 'labels alone',
        'KD': f'KD{weight}',
        'LumiNet': luminet,
        'LumiNet, `shared_scale`': f'{luminet}, shared_scale',
        'LumiNet, `center_rows`': f'{luminet}, center_rows',
        'LumiNet, both': f'{luminet}, both',
    }
    assert [row[0] for row in table] == list(names)
    for title, *cells in table:
        for many, cell in zip(classes, cells, strict=True):
            each = found[many][names[title]]
            assert len(each['AP']) == 8
            both = statistics.fmean(each['correlation'])
            assert cell.replace('−', '-') == (
                f'{statistics.fmean(each["AP"]):.1f} ± '
                f'{statistics.stdev(each["AP"]):.1f} ({both:+.2f})'
            )


def test_a_last_relu():
    """Both forms, on two data sets; a group has as many runs as its sweep."""
    names = {'student': 'student alone'}
    for name, title in dict(
        fgfi='FGFI', fitnet='FitNet', simkd='SimKD'
    ).items():
        names |= {name: title, f'{name}_relu': f'{title}, ReLU'}
    table = {
        row[0]: (row[1:3], row[3:]) for row in rows("A connector's last ReLU")
    }
    assert table.pop('') == (['digits', 'by seed'], ['blood cells', 'by seed'])
    assert set(table) == set(names.values())
    for column, data in enumerate(('digits', 'bccd')):
        summary = load(f'{data}_last_relu')
        path = ROOT / 'configs' / 'sweeps' / f'{data}_last_relu.py'
        assert set(summary) == set(Config.fromfile(path).runs)
        for name, title in names.items():
            shown = table[title][column]
            if name not in summary:
                assert shown == ['–', '–']
                continue
            entry = summary[name]['coco/bbox_mAP']
            assert len(entry['last']) == 3
            assert shown == [spread(entry), seeds_of(entry)]


def test_rows_that_were_run_later():
    """The digits' table has the later runs of seeds 0 and 1."""
    table, later = load('digits_methods'), load('digits_last_relu')
    for name in ('fgfi', 'fitnet', 'simkd'):
        assert table[name]['options'] == later[name]['options']
        runs = table[name]['coco/bbox_mAP']['last']
        assert runs == later[name]['coco/bbox_mAP']['last'][:2]


def test_a_tenth_of_cifar10():
    """Accuracies are logged in percent; the best epoch is shown as well."""
    summary = load('cifar10')
    pair = 'resnet56_resnet20_cifar10-tenth'
    table = {r[0]: r[1:] for r in rows('A tenth of CIFAR-10') if len(r) > 2}
    assert table.pop('') == ['last epoch', 'best epoch', 'by seed (0 to 2)']
    assert len(table) == len(summary) == 5
    for title, (last, best, seeds) in table.items():
        name = (
            'resnet20_cifar10-tenth'
            if title == 'student alone'
            else f'{title.lower()}_{pair}'
        )
        entry = summary[name]['accuracy/top1']
        assert len(summary[name]['runs']) == 3
        for shown, values in ((last, entry['last']), (best, entry['best'])):
            mean, std = statistics.fmean(values), statistics.stdev(values)
            assert shown == f'{mean:.1f} ± {std:.1f}'
        assert seeds == ', '.join(f'{value:.1f}' for value in entry['last'])


@pytest.mark.parametrize(
    ('heading', 'name'),
    [
        ('Temperature and weight', 'digits_settings'),
        ('What a weak teacher does', 'digits_settings_teacher_38.8'),
        ('Temperature and weight on blood cells', 'bccd_settings'),
    ],
)
def test_settings(heading, name):
    summary = load(name)
    seen = set()
    columns = []
    for title, *cells in rows(heading):
        if not title:
            columns = [
                re.fullmatch(r'tau (\S+), weight (\S+)', c).groups()
                for c in cells
            ]
            continue
        method = title.split()[0].lower()
        for (tau, weight), cell in zip(columns, cells, strict=True):
            key = f'{method}_tau{tau}_weight{weight}'
            seen.add(key)
            assert cell == percent(summary[key]['coco/bbox_mAP']['mean']), key
    assert seen == set(summary)


@pytest.mark.parametrize(
    ('name', 'metric'),
    [
        ('cifar10_methods', 'top-1'),
        ('digits_methods', 'AP'),
        ('bccd_methods', 'AP'),
    ],
)
def test_every_method(name, metric):
    """The tables are what method_table makes of the raw numbers."""
    summary = load(name)
    found = method_table.join(summary, load(f'{name}_steps'))
    assert block(name) == method_table.markdown(found, metric)
    grid = Config.fromfile(ROOT / 'configs' / 'sweeps' / f'{name}.py').runs
    # a method that came after the grid was run has no row yet
    assert set(summary) <= set(grid)
    before = one_line(PAGE[: PAGE.index(f'<!-- {name} -->')])
    later = re.search(r' have no row here: ([^.]*)\. $', before + ' ')
    titles = {
        method_table.TITLES[runs['options'][f'model.distill.loss_{key}'].type]
        for key, runs in grid.items()
        if key not in summary
    }
    assert titles == ({*later[1].split(', ')} if later else set())
    for group, entry in summary.items():
        runs = {f'{group}_seed{seed}' for seed in grid[group].seeds}
        assert {*entry['runs'], *entry['missing']} == runs
    assert (FOLDER / f'{name}.png').is_file()


@pytest.mark.parametrize(
    'name',
    [
        'cifar10_methods',
        'digits_methods',
        'bccd_methods',
        'digits_last_relu',
        'bccd_last_relu',
        'few_classes',
        'one_class',
    ],
)
def test_the_sweep_has_the_settings_that_were_run(name):
    check_settings(name)


def test_below_the_student():
    """All that are, once more, and with the settings of the configs."""
    first, again = load('cifar10_methods'), load('cifar10_second_look')
    means = {k: group['accuracy/top1']['mean'] for k, group in first.items()}
    below = {k for k in means if means[k] < means['student']}
    signed, by_rows = (
        again.pop(name)['accuracy/top1']['last'][0]
        for name in ('vkd_preact', 'mlld_rows')
    )
    text = one_line(PAGE)
    assert f'before its ReLU, VkD has {signed:.1f}' in text
    assert f'without its Gram matrices MLLD has {by_rows:.1f}' in text
    assert {name.removesuffix('_long') for name in again} == below
    longer = {row[0]: row[1:] for row in rows('Below the student', width=3)}
    reweighted = {
        row[0]: row[1:] for row in rows('Below the student', width=5)
    }
    assert longer.pop('') == ['2 epochs', '10 epochs']
    assert reweighted.pop('')[::2] == ['published weight', 'weight']
    assert len(longer) + len(reweighted) == len(again)
    for group, entry in again.items():
        name = group.removesuffix('_long')
        key = f'model.distill.loss_{name}'
        title = method_table.TITLES[entry['options'][f'{key}.type']]
        pair = first[name], entry
        assert [runs['runs'][0] for runs in pair] == [
            f'{name}_seed0',
            f'{group}_seed0',
        ]
        top1 = [f'{runs["accuracy/top1"]["last"][0]:.1f}' for runs in pair]
        if group != name:
            assert longer[title] == top1
            continue
        weights = [
            f'{runs["options"][f"{key}.loss_weight"]:g}' for runs in pair
        ]
        assert reweighted[title] == [weights[0], top1[0], weights[1], top1[1]]


def test_the_students_runs_on_blood_cells():
    """One was repeated; the table shows those that there were."""
    metrics = [f'coco/bbox_mAP{suffix}' for suffix in ('', '_50', '_75')]
    ours = load('bccd_methods')['student']
    theirs = load('bccd')['frcnn_student']
    assert ours['options'] == theirs['options']
    for metric in metrics:
        assert ours[metric] == theirs[metric]


def test_mlld_on_digits_once_more():
    tenth, rows = (
        percent(group['coco/bbox_mAP']['last'][0])
        for group in load('digits_second_look').values()
    )
    assert (
        f'With a tenth of the weight it has {tenth} AP, without its Gram '
        f'matrices {rows} (seed 0,'
    ) in one_line(PAGE)


def test_readme_has_the_same_figures():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    block = text.split('<!-- results -->')[1].split('<!-- /results -->')[0]
    header, values = re.findall(r'^\| (.*) \|$', block, re.M)
    shown = dict(
        zip(
            (cell.strip() for cell in header.split('|')),
            (c.strip().replace('**', '') for c in values.split('|')),
            strict=True,
        )
    )
    assert f'AP {shown.pop("teacher")},' in PAGE
    table = {row[0]: row[1] for row in rows('Digits in scenes')}
    assert shown == {title: table[title] for title in shown}
    assert set(shown) == set(NAMES)


def test_configs_carry_the_best_settings():
    """What the table was run with is what the search found."""
    for data in ('digits', 'bccd'):
        summary = load(f'{data}_settings')
        for method in ('kd', 'dkd', 'dist', 'luminet'):
            tried = {
                key: group['coco/bbox_mAP']['mean']
                for key, group in summary.items()
                if key.startswith(f'{method}_')
            }
            path = ROOT / 'configs' / f'{method}_frcnn_{data}.py'
            loss = Config.fromfile(path).model.distill[f'loss_{method}']
            key = f'{method}_tau{loss.tau:g}_weight{loss.loss_weight:g}'
            assert tried[key] == max(tried.values()), (data, method)


@pytest.mark.parametrize(
    ('heading', 'name'),
    [
        ('A classifier', 'benchmark_resnet32x4_resnet8x4'),
        ('A detector', 'benchmark_frcnn_r101_r18'),
    ],
)
def test_what_a_step_costs(heading, name):
    result = load(name)
    table = rows(heading, SPEED)
    shown = {row[0]: row[1:3] for row in table if len(row) == 4}
    assert shown.pop('ratio') == ['median', 'quartiles']
    assert len(shown) >= 6
    for ratio, (median, quartiles) in shown.items():
        entry = result['ratios'][ratio]
        assert median == f'{entry["median"]:.3f}'
        assert quartiles == f'{entry["low"]:.3f} to {entry["high"]:.3f}'
    parts = {row[0]: row[1:] for row in table if len(row) == 3}
    assert parts.pop('part') == ['ms', 'share']
    assert list(parts) == list(result['parts'])
    whole = sum(result['parts'].values())
    for part, (milliseconds, share) in parts.items():
        seconds = result['parts'][part]
        assert milliseconds == f'{1000 * seconds:,.1f}'
        assert share == f'{100 * seconds / whole:.1f} %'
    size = ' × '.join(map(str, result['sizes']['image_size']))
    text = SPEED.split(f'## {heading}')[1]
    assert f'images of {size}, batches of {result["sizes"]["batch_size"]}' in (
        text.replace('\n', ' ')
    )


def test_a_compiled_teacher():
    ratios = load('benchmark_resnet32x4_resnet8x4_compiled')['ratios']
    teacher = ratios['teacher / plain teacher']
    step = ratios['distillation step / distillation step, plain teacher']
    text = one_line(SPEED)
    assert (
        f'the teacher costs {teacher["median"]:.3f} of the plain one '
        f'({teacher["low"]:.3f} to {teacher["high"]:.3f}), and the step '
        f'{step["median"]:.3f} of that'
    ) in text
    ratios = load('benchmark_frcnn_r101_r18_compiled')['ratios']
    features = ratios["teacher's features / plain teacher's features"]
    assert (
        f'the features cost {features["median"]:.3f} of the plain ones '
        f'({features["low"]:.3f} to {features["high"]:.3f})'
    ) in text


@pytest.mark.parametrize(
    'name', ['memory_frcnn_r101_r18', 'memory_frcnn_r101_r18_800']
)
def test_what_memory_a_step_takes(name):
    result = load(name)
    size = ' × '.join(map(str, result['sizes']['image_size']))
    assert result['sizes']['batch_size'] == 2
    table = [row[1:] for row in rows('Memory', SPEED) if row[0] == size]
    keys = {
        "student's weights": ['student'],
        "optimizer's state": ['optimizer'],
        "teacher's weights": ['teacher'],
        'added by a step': ['adds'],
        'peak': ['peak'],
        "peak without the teacher's weights": ['student', 'optimizer', 'adds'],
    }
    assert [row[0] for row in table] == list(keys)
    memory = result['memory']
    for row, parts in zip(table, keys.values(), strict=True):
        student, distilled = (
            sum(memory[step][part] for part in parts)
            for step in ('student step', 'distillation step')
        )
        shown = [f'{each / 2**20:,.0f}' for each in (student, distilled)]
        last = f'{distilled / student:.2f}' if student else '—'
        assert row[1:] == [*shown, last]
    ratios = [row[-1] for row in table[-2:]]
    assert ratios == [f'{each:.2f}' for each in memory['ratios'].values()]


def test_which_shapes_crashed_in_channels_last():
    runs = load('channels_last_shapes')['runs']
    table = rows('The student in channels-last', SPEED, width=5)[1:]
    assert table == [
        [
            run['torch'],
            run['onednn'].removeprefix('v'),
            run['kernels'],
            str(run['shapes']),
            str(len(run['crashed'])),
        ]
        for run in runs
    ]
    crashed = [shape for run in runs for shape in run['crashed']]
    assert {(x['kernel'], x['stride'], x['batch']) for x in crashed} == {
        (1, 2, 2)
    }
    assert {x['in_channels'] for x in crashed} == set(range(2, 8))
    assert all(
        x['gradient_of_weights']
        and not x['gradient_of_maps']
        and not x['forward']
        for x in crashed
    )
    scans = {
        (run['torch'], run['kernels']): run['scan']
        for run in runs
        if 'scan' in run
    }
    assert {key[0] for key in scans} == {'2.14.1', '2.15.0'}
    for (_, kernels), scan in scans.items():
        shapes = dict(AVX2=1568)
        assert scan['shapes'] == shapes.get(kernels, 1904)
        assert not scan['crashed'] and scan['deviation_float32'] < 1e-6


def test_what_channels_last_saves_a_student():
    result = load('channels_last_resnet18')
    table = rows('The student in channels-last', SPEED, width=4)[1:]
    found = []
    for precision, entries in result['ratios'].items():
        for step, entry in entries.items():
            spread = f'{entry["low"]:.3f} to {entry["high"]:.3f}'
            found.append([precision, step, f'{entry["median"]:.3f}', spread])
            if step == 'student':  # 'a tenth less'
                assert 0.85 < entry['median'] < 0.95
    assert table == found and len(found) == 4
    assert result['rounds'] == 5 and result['threads'] == 1
    assert result['batch_size'] == 8 and result['image_size'] == [224, 224]
    assert result['processor'] == 'AMD EPYC, AVX512'
