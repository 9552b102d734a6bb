"""Every shipped distillation shows that it is alive, in any script."""

import ast
import re
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
MONITOR = dict(type='luminet_mm.DistillMonitorHook')
# Where a model becomes a distiller; all other configs inherit from these.
FIRST = [
    path
    for path in sorted((ROOT / 'configs').rglob('*.py'))
    if re.search(
        r"type='luminet_mm\.(\w+Distiller|MutualClassifier)'",
        path.read_text('utf-8'),
    )
]


@pytest.mark.parametrize('path', FIRST, ids=lambda path: path.stem)
def test_a_pair_has_the_monitor(path):
    text = path.read_text('utf-8')
    assert text.count("distill_monitor=dict(type='luminet_mm.") == 1
    # which leaves what sweeps call custom_hooks.1 where it is
    assert 'DistillMonitorHook' not in text.partition('custom_hooks = ')[2]


def bases(path):
    """The files of this project that a config inherits from."""
    tree = ast.parse(path.read_text('utf-8'))
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            names = ast.literal_eval(node.value)
            names = [names] if isinstance(names, str) else names
            return [path.parent / name for name in names if '::' not in name]
    return []


def imports_this_package(path):
    text = path.read_text('utf-8')
    return "custom_imports = dict(imports=['luminet_mm'])" in text or any(
        map(imports_this_package, bases(path))
    )


def test_every_config_works_in_a_script_that_does_not_know_this_package():
    shipped = [
        path
        for path in (ROOT / 'configs').rglob('*.py')
        if not {'_base_', 'sweeps'} & set(path.parts)
    ]
    assert len(shipped) > 150
    without = [str(p) for p in shipped if not imports_this_package(p)]
    assert not without


@pytest.mark.parametrize(
    'name',
    [
        'luminet_frcnn_digits',
        'luminet_frcnn_r101_r18_64xb2_coco',
        'cifar100/luminet_ensemble_wrn-16-2_cifar100',
        'imagenet/token-hint_regnety-160_deit-tiny_in1k',
    ],
)
def test_configs_inherit_it(name):
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    assert cfg.default_hooks.distill_monitor == MONITOR
    assert cfg.custom_imports == dict(imports=['luminet_mm'])
    assert not [h for h in cfg.custom_hooks if 'Monitor' in str(h)]
