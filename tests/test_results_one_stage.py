"""docs/results.md: one-stage students and DETRs, against the raw numbers."""

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
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

# Title in the table, name in the grid and in the search of weights.
GFL = {
    'student alone': ('gfl_student', 'student'),
    'binary KD': ('binary_kd_gfl', 'binary_kd'),
    'BCKD': ('bckd_gfl', 'bckd'),
    'LD': ('ld_gfl', 'ld'),
    'LumiNet, sigmoid, foreground': ('luminet_gfl', 'luminet'),
    'LumiNet, sigmoid, top 50': ('luminet_gfl_top_k', 'luminet_top_k'),
    'LumiNet, softmax, foreground': (
        'luminet_gfl_softmax',
        'luminet_softmax',
    ),
    'CrossKD': ('crosskd_gfl', 'crosskd'),
    'PKD': ('pkd_gfl', 'pkd'),
    'FGFI': ('fgfi_gfl', 'fgfi'),
}
RETINANET = {
    'student alone': ('retinanet_student', 'student'),
    'binary KD': ('binary_kd_retinanet', 'binary_kd'),
    'BCKD': ('bckd_retinanet', 'bckd'),
    'LumiNet, sigmoid, foreground': ('luminet_retinanet', 'luminet'),
    'LumiNet, softmax, foreground': (
        'luminet_retinanet_softmax',
        'luminet_softmax',
    ),
    'CrossKD': ('crosskd_retinanet', 'crosskd'),
    'PKD': ('pkd_retinanet', 'pkd'),
    'FGFI': ('fgfi_retinanet', 'fgfi'),
}
FRCNN_RETINANET = {
    'student alone': 'retinanet_student',
    'FitNet': 'fitnet_frcnn_retinanet',
    'FGFI': 'fgfi_frcnn_retinanet',
}
SEARCHED_ONLY = {
    'LumiNet, sigmoid, all points': 'luminet_all',
    'FGD': 'fgd',
}


def table(heading):
    """Rows of a table of five columns, by title."""
    found = {row[0]: row[1:] for row in rows(heading, width=5)}
    assert found.pop('') == ['AP', 'AP50', 'AP75', 'AP by seed (0 to 4)']
    return found


def check_means(heading, name, titles):
    """A table of means against the summary of its grid."""
    summary, shown = load(name), table(heading)
    assert set(summary) == set(titles.values()) == set(grid(name))
    assert list(shown) == sorted(
        titles,
        key=lambda t: summary[titles[t]]['coco/bbox_mAP']['mean'],
    )
    for title, (ap, ap50, ap75, seeds) in shown.items():
        group = summary[titles[title]]
        entry = group['coco/bbox_mAP']
        assert len(entry['last']) == 5 and not group['missing']
        assert ap == spread(entry)
        assert ap50 == percent(group['coco/bbox_mAP_50']['mean'])
        assert ap75 == percent(group['coco/bbox_mAP_75']['mean'])
        assert seeds == seeds_of(entry)


def check_search(heading, name, titles, tries):
    """A table of a search, and that the summary has no other runs."""
    summary, seen = load(name), set()
    for title, *cells in rows(heading, width=tries + 1)[1:]:
        for cell in cells:
            weight, ap = cell.split(': ')
            key = f'{titles[title]}_weight{weight}'
            assert ap == percent(summary[key]['coco/bbox_mAP']['mean']), key
            seen.add(key)
    assert seen == set(summary) - {'student'}
    assert set(summary) == set(grid(name))


def best_weight(name, method):
    tried = {
        group['options'][f'model.distill.loss_{method}.loss_weight']: group[
            'coco/bbox_mAP'
        ]['mean']
        for key, group in load(name).items()
        if key.startswith(f'{method}_weight')
    }
    best = max(tried.values())
    return {weight for weight, ap in tried.items() if ap == best}


def check_best(name, titles):
    """Each method was run with the best weight of its search."""
    for group, method in titles.values():
        if method == 'student':
            continue
        entry = grid(name)[group]
        cfg = Config.fromfile(ROOT / entry.config)
        cfg.merge_from_dict(dict(entry.options))
        (loss,) = cfg.model.distill.values()
        assert loss.loss_weight in best_weight(f'{name}_settings', method)


def test_gfl():
    check_means(
        'A one-stage student', 'digits_gfl', {k: v[0] for k, v in GFL.items()}
    )


def test_readme_has_the_same_figures():
    text = words('README.md')
    groups = ('gfl_student', 'luminet_gfl', 'crosskd_gfl', 'fgfi_gfl')
    alone, luminet, crosskd, fgfi = (
        spread(load('digits_gfl')[group]['coco/bbox_mAP']) for group in groups
    )
    assert (
        f"has {alone} alone, {luminet} with LumiNet's extension to dense "
        f'heads, {crosskd} with CrossKD and {fgfi} with FGFI'
    ) in text


def test_what_the_page_says_of_gfl():
    """Each run above each run, where it says so."""
    runs = {
        k: v['coco/bbox_mAP']['last'] for k, v in load('digits_gfl').items()
    }
    alone = runs.pop('gfl_student')
    assert min(min(each) for each in runs.values()) > max(alone)
    first = [runs.pop(f'{name}_gfl') for name in ('fgfi', 'pkd', 'crosskd')]
    assert min(map(min, first)) > max(map(max, runs.values()))
    luminet = [each for name, each in runs.items() if 'luminet' in name]
    assert sum(map(len, luminet)) == 15
    assert min(map(min, luminet)) > max(runs['binary_kd_gfl'] + runs['ld_gfl'])
    means = [sum(each) / 5 for each in luminet]
    assert max(means) - min(means) < 0.01
    search = {
        name: group['coco/bbox_mAP']['mean']
        for name, group in load('digits_gfl_settings').items()
    }
    gains = [
        max(v for k, v in search.items() if k.startswith(f'{name}_weight'))
        - search['student']
        for name in ('luminet', 'luminet_all')
    ]
    assert 0.4 < 1 - gains[1] / gains[0] < 0.5


def test_the_weights_of_gfl():
    names = {title: name for title, (_, name) in GFL.items()} | SEARCHED_ONLY
    del names['student alone']
    check_search('The weights of GFL', 'digits_gfl_settings', names, 6)


def test_gfl_was_run_with_the_best_weights():
    check_best('digits_gfl', GFL)


def test_retinanet_teaches_retinanet():
    name = 'digits_retinanet'
    check_means(
        'RetinaNet teaches RetinaNet',
        name,
        {title: group for title, (group, _) in RETINANET.items()},
    )
    searched = {title: method for title, (_, method) in RETINANET.items()}
    del searched['student alone']
    check_search('The weights of RetinaNet', f'{name}_settings', searched, 6)
    check_best(name, RETINANET)


def test_what_the_page_says_of_retinanet():
    """Each run above each run, where it says so."""
    runs = {
        name.replace('_retinanet', ''): group['coco/bbox_mAP']['last']
        for name, group in load('digits_retinanet').items()
    }
    alone = runs.pop('retinanet_student')
    assert min(map(min, runs.values())) > max(alone)
    gains = {k: 20 * (sum(v) - sum(alone)) for k, v in runs.items()}
    assert 5 < min(gains.values()) and f'{max(gains.values()):.1f}' == '12.2'
    fgfi = runs.pop('fgfi')
    assert min(fgfi) > max(map(max, runs.values()))
    frcnn = load('digits_frcnn_retinanet')['fgfi_frcnn_retinanet']
    assert min(fgfi) > max(frcnn['coco/bbox_mAP']['last'])
    assert (
        f'Faster R-CNN below ({percent(frcnn["coco/bbox_mAP"]["mean"])})'
        in one_line(PAGE)
    )
    luminet = runs['luminet'] + runs['luminet_softmax']
    assert sum(luminet) / 10 < sum(runs['binary_kd']) / 5
    assert min(runs['bckd'] + runs['crosskd']) > max(luminet)
    assert max(min(runs['bckd']), min(runs['crosskd'])) < min(
        max(runs['bckd']), max(runs['crosskd'])
    )
    best = [
        best_weight(f'digits_{name}_settings', 'luminet')
        for name in ('retinanet', 'gfl')
    ]
    assert best == [{0.3}, {0.6}]


def test_frcnn_teaches_retinanet():
    heading, name = 'Faster R-CNN teaches RetinaNet', 'digits_frcnn_retinanet'
    check_means(heading, name, FRCNN_RETINANET)
    methods = dict(CWD='cwd', FGD='fgd', FGFI='fgfi', FitNet='fitnet')
    check_search(heading, f'{name}_settings', methods, 3)
    runs, search = load(name), load(f'{name}_settings')
    alone = runs['retinanet_student']['coco/bbox_mAP']
    for title, gain in (('FGFI', 10.0), ('FitNet', 5.6)):
        found = runs[FRCNN_RETINANET[title]]['coco/bbox_mAP']
        assert f'{100 * (found["mean"] - alone["mean"]):.1f}' == f'{gain}'
        assert min(found['last']) > max(alone['last'])
        assert f'{title} is {gain} AP' in PAGE or f'{title} {gain},' in PAGE
    ap = {k: v['coco/bbox_mAP']['mean'] for k, v in search.items()}
    assert min(ap.values()) == ap['student']
    for title in ('FGFI', 'FitNet'):
        cfg = Config.fromfile(ROOT / grid(name)[FRCNN_RETINANET[title]].config)
        (loss,) = cfg.model.distill.values()
        best = best_weight(f'{name}_settings', methods[title])
        assert loss.loss_weight in best


def test_dino():
    (run,) = load('digits_dino').values()
    aps = [percent(each['coco/bbox_mAP']) for each in run['validations']]
    assert (
        f'AP {aps[0]} after 300 steps, {aps[1]} after 600 and {aps[2]} after '
        '900'
    ) in one_line(PAGE)
    model = Config.fromfile(ROOT / run['config']).model
    with DefaultScope.overwrite_default_scope('mmdet'):
        parameters = sum(p.numel() for p in MODELS.build(model).parameters())
    assert f'A DINO of {parameters:,} parameters' in PAGE


@pytest.mark.parametrize(
    'name',
    [
        'digits_gfl',
        'digits_gfl_settings',
        'digits_retinanet',
        'digits_retinanet_settings',
        'digits_frcnn_retinanet',
        'digits_frcnn_retinanet_settings',
    ],
)
def test_the_sweep_has_the_settings_that_were_run(name):
    check_settings(name)
