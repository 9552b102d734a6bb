"""The sweeps of weights that set themselves differ in the weight alone."""

import copy
import json
from pathlib import Path

import pytest
from mmengine.config import Config

from luminet_mm.launch.grid import make_cells

ROOT = Path(__file__).parents[2]
SWEEPS = ROOT / 'configs' / 'sweeps'


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Configs name files from the project's folder."""
    monkeypatch.chdir(ROOT)


def groups(name):
    return Config.fromfile(SWEEPS / f'{name}.py').runs.to_dict()


def test_the_weight_alone_differs():
    by_hand, auto = groups('digits_methods'), groups('digits_auto_methods')
    assert list(auto) == list(by_hand)
    for name, run in auto.items():
        wanted = by_hand[name]
        assert run['config'] == wanted['config']
        if name != 'student':
            wanted['options'][f'model.distill.loss_{name}'].update(
                loss_weight='auto'
            )
        assert run['options'] == wanted['options']
        assert run['seeds'][:2] == wanted['seeds'] == [0, 1]


def test_logits_have_five_seeds():
    auto = groups('digits_auto_methods')
    five = {name for name, run in auto.items() if len(run['seeds']) == 5}
    assert 'student' in five and len(five) == 16
    for name in five - {'student'}:
        loss = auto[name]['options'][f'model.distill.loss_{name}']
        assert loss['signal'] == 'roi.cls_score'
    assert {len(run['seeds']) for run in auto.values()} == {2, 5}


def test_the_weight_alone_differs_for_a_classifier():
    """And that of cross entropy, which is 1 for all."""
    given, auto = groups('cifar10_methods'), groups('cifar10_auto_methods')
    on_logits = groups('cifar10_logits')
    assert auto.keys() | on_logits.keys() >= given.keys()
    assert auto.keys() & on_logits.keys() == {'student'}
    assert auto.pop('student') == given['student']
    assert len(auto) == 23
    for name, run in auto.items():
        wanted = given[name]
        wanted['options']['model.head.loss.loss_weight'] = 1.0
        wanted['options'][f'model.distill.loss_{name}'].update(
            loss_weight='auto'
        )
        assert run == dict(wanted, seeds=[0, 1])


def test_its_runs_are_read():
    cells = make_cells(Config.fromfile(SWEEPS / 'digits_auto_methods.py').runs)
    assert len(cells) == 16 * 5 + 19 * 2
    cfg = next(each for each in cells if each.group == 'fgfi').load()
    assert cfg.model.distill.loss_fgfi.loss_weight == 'auto'
    assert cfg.model.distill.loss_fgfi.type == 'luminet_mm.FGFILoss'


def test_a_lower_share_is_all_that_differs():
    low, auto = groups('digits_auto_low_share'), groups('digits_auto_methods')
    assert len(low) == 9
    for group, run in low.items():
        name = group.removesuffix('_share0.3')
        wanted = auto[name]
        wanted['options'][f'model.distill.loss_{name}'].update(
            loss_weight=dict(share=0.3)
        )
        assert run == dict(wanted, seeds=[0, 1])


def test_a_second_look_changes_the_share_or_the_length():
    second = groups('cifar10_auto_second_look')
    auto = groups('cifar10_auto_methods')
    logits = groups('cifar10_logits')['kd']['options']
    names = {group.rpartition('_')[0] for group in second}
    assert len(names) == 9 and len(second) == 18
    for name in names:
        key = f'model.distill.loss_{name}'
        wanted = copy.deepcopy(auto[name])
        wanted['options'][key]['loss_weight'] = dict(share=0.3)
        assert second[f'{name}_share0.3'] == dict(wanted, seeds=[0])
        long = second[f'{name}_long']
        assert long['config'] == auto[name]['config'] and long['seeds'] == [0]
        options = long['options']
        assert options[key] == auto[name]['options'][key]
        assert options.pop(f'custom_hooks.1.loss_{name}')['warmup'] == 66
        for other in set(options) - {key}:
            assert options[other] == logits[other]


def test_its_cost_is_that_of_the_weight_alone():
    auto = groups('digits_auto_methods')
    by_hand = groups('digits_methods')
    cost = groups('digits_auto_cost')
    assert list(cost)[:2] == ['student', 'luminet'] and len(cost) == 7
    assert cost.pop('student') == auto['student']
    for name, run in cost.items():
        method = name.removesuffix('_auto')
        wanted = by_hand if name == method else auto
        assert run['options'] == wanted[method]['options']


def test_rules_have_the_weights_that_were_measured():
    path = ROOT / 'docs' / 'results' / 'digits_rule_weights.json'
    measured = json.loads(path.read_text())
    rules, auto = groups('digits_weight_rules'), groups('digits_auto_methods')
    assert rules.pop('student')['seeds'] == [100]
    assert len(rules) == 5 * len(measured) == 30
    for group, run in rules.items():
        name, _, rule = group.rpartition('_')
        key = f'model.distill.loss_{name}'
        wanted = copy.deepcopy(auto[name]['options'])
        if rule != 'auto':
            wanted[key]['loss_weight'] = float(f'{measured[name][rule]:.3g}')
        assert run['options'] == wanted and run['seeds'] == [100]
        assert measured[name]['share'] == 0
