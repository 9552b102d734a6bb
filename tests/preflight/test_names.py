"""Types that no installed class has, without an import of the zoos."""

import json
import re
import statistics
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.registry import root as registries
from mmengine.utils import get_installed_path

from luminet_mm.preflight import ConfigError, check_config, names
from luminet_mm.preflight.names import (
    bare,
    places_of,
    registered_names,
    unknown_names,
    unseen,
)
from luminet_mm.preflight.signatures import find_class

ROOT = Path(__file__).parents[2]
# Types in configs of the zoos that no class of theirs has.
NOT_THERE = {
    'MOTChallengeMetrics',  # MMDetection's is MOTChallengeMetric
    'BatchCutMix',
    'ToHalf',
    'VSRAcc',
    'VizWizAcc',
    # of packages that read these blocks themselves
    'RMSprop',
    'BboxParams',
    'HueSaturationValue',
    'JpegCompression',
    'RGBShift',
}


@pytest.fixture
def light(monkeypatch):
    """As in a process that has not imported torch."""
    monkeypatch.setattr(names, 'sys', SimpleNamespace(modules={}))


@pytest.fixture
def config():
    return Config(
        dict(
            default_scope='mmdet',
            model=tiny.distiller(),
            default_hooks=dict(timer=dict(type='IterTimerHook')),
            custom_hooks=[dict(type='luminet_mm.TeacherCheckHook')],
            val_evaluator=dict(type='CocoMetric', ann_file='a.json'),
        )
    )


def all_types():
    """Every type in the text of every config, and one file that has it."""
    text = re.compile(
        r"""\btype\s*=\s*['"]([\w.]+)['"]|['"]type['"]\s*:\s*['"]([\w.]+)"""
    )
    folders = [
        Path(get_installed_path(package)) / '.mim' / 'configs'
        for package in ('mmdet', 'mmpretrain')
    ]
    folders.append(ROOT / 'configs')  # the last one counts
    return {
        one or other: path
        for folder in folders
        for path in folder.rglob('*.py')
        for one, other in text.findall(path.read_text(encoding='utf-8'))
    }


def test_every_type_of_every_config_is_found():
    """Of this project and of both zoos; wherever in the config it stands."""
    found = all_types()
    plain = {kind for kind in found if names._is_plain(kind)}
    assert len(found) > 800 and len(plain) > 0.95 * len(found)
    lacking = unseen({bare(kind) for kind in plain})
    assert lacking <= NOT_THERE
    own = {
        bare(kind)
        for kind in plain
        if (ROOT / 'configs') in found[kind].parents
    }
    assert len(own) > 100 and not own & lacking


def test_every_registered_name_is_found(monkeypatch):
    """Whatever the packages register, and under whatever name."""
    roots = [getattr(registries, x) for x in ('MODELS', 'HOOKS', 'METRICS')]
    for root in roots:
        for scope in ('mmdet', 'mmpretrain', 'luminet_mm'):
            find_class(f'{scope}.Nothing', root, scope)  # imports its classes
    monkeypatch.setattr(names, '_is_live', lambda name: False)
    found, left = {}, roots
    while left:
        registry = left.pop()
        found.update(registry.module_dict)
        left += registry.children.values()
    packages = (*names.SOURCES, 'torch')
    plain = {
        name
        for name, cls in found.items()
        if names._is_plain(name)
        and cls.__module__.partition('.')[0] in packages
    }
    assert len(plain) > 700
    assert {'ResNet', 'ConvNeXt', 'BN', 'KDLoss', 'EMAHook'} <= plain
    assert unseen(plain) == set()


# as MMEngine's `_base_ = 'mmdet::...'` writes it into blocks
SCOPE = {'model._scope_': 'mmdet', 'model.backbone._scope_': 'mmpretrain'}


@pytest.mark.parametrize(
    ('change', 'near'),
    [
        ({'model.type': 'luminet_mm.TwoStageDistler'}, 'luminet_mm.TwoStageD'),
        ({'model.backbone.type': 'ResNett'}, 'ResNet'),
        ({'model.backbone.type': 'mmdet.ResNett'}, ''),
        (dict(SCOPE, **{'model.backbone.type': 'SwinTransfomer'}), 'SwinT'),
        ({'model.neck.type': 'FPNN'}, 'FPN'),
        ({'model.roi_head.bbox_head.type': 'Shared2FCBBoxHed'}, 'Shared2FCBB'),
        (
            {'model.distill.loss_luminet.type': 'luminet_mm.LumiNetLos'},
            'luminet_mm.LumiNetLoss',
        ),
        ({'default_hooks.timer.type': 'IterTimerHok'}, 'IterTimerHook'),
        (
            {'custom_hooks.0.type': 'luminet_mm.TeacherChekHook'},
            'luminet_mm.TeacherCheckHook',
        ),
        ({'val_evaluator.type': 'CocoMetrik'}, 'CocoMetric'),
    ],
)
def test_it_says_what_the_full_check_says(config, light, change, near):
    (*_, (key, kind)) = change.items()
    config.merge_from_dict(change)
    (line,) = unknown_names(config, ('train', 'val'))
    assert line.startswith(f'{key}: {kind!r} is not a registered ')
    assert f"; did you mean '{near}" in line
    with pytest.raises(ConfigError) as caught:
        check_config(config, ('train', 'val'))
    lines = str(caught.value).splitlines()
    assert f'  - {line}' in lines


def test_a_good_config_has_nothing_to_say(config, light):
    assert unknown_names(config, ('train', 'val')) == []
    places = places_of(config, ('train', 'val'))
    assert [each.key for each in places] == [
        'model',
        'model.backbone',
        'model.neck',
        'model.rpn_head',
        'model.roi_head',
        'model.roi_head.bbox_head',
        'model.distill.loss_luminet',
        'default_hooks.timer',
        'custom_hooks.0',
        'val_evaluator',
    ]
    several = dict(val_evaluator=[dict(type='a'), dict(type='b')])
    assert [*places_of(several, ('val',))] == [
        ('val_evaluator.0', 'a', 'evaluator', None),
        ('val_evaluator.1', 'b', 'evaluator', None),
    ]
    tested = [each.key for each in places_of(config, ('test',))]
    assert tested[-1] == 'custom_hooks.0'  # no evaluator of another phase
    assert not any(key.startswith('model.distill') for key in tested)


NETWORK = dict(type='ResNett')


@pytest.mark.parametrize(
    'change',
    [
        dict(default_scope='mmrotate'),
        dict(custom_imports=dict(imports=['mine'])),
        dict(custom_imports=dict(imports='mine.networks')),
        dict(custom_imports=dict(imports=['luminet_mm', 'mine'])),
        dict(custom_imports='mine'),
        dict(model=dict(type='FasterRCNN', backbone=dict(NETWORK, _scope_=1))),
        dict(model=dict(type='mine.Detector')),
        dict(model=dict(type='FasterRCNN', backbone=dict(type='a/b'))),
        dict(model=dict(type='FasterRCNN', backbone=dict(type=dict))),
        dict(model=dict(backbone=NETWORK)),  # of what is not a network
        dict(model=dict(type='FasterRCNN', part=dict(backbone=NETWORK))),
        dict(model=dict(type='FasterRCNN', train_cfg=dict(head=NETWORK))),
        dict(model=dict(type='FasterRCNN', teacher=dict(head=NETWORK))),
        dict(model=dict(type='test_names')),  # a module that can be imported
    ],
)
def test_what_it_leaves_to_the_full_check(config, light, change, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    if 'model' not in change:
        config.model.backbone.type = 'ResNett'
        assert len(unknown_names(config, ())) == 1
    for key, value in change.items():
        config[key] = value
    config.custom_hooks = None
    assert unknown_names(config, ('train',)) == []


def test_own_imports_of_the_packages_are_no_obstacle(config, light):
    config.model.backbone.type = 'ResNett'
    config.custom_imports = dict(imports=['luminet_mm', 'mmdet.models'])
    assert len(unknown_names(config, ())) == 1


def test_where_torch_is_there_nothing_is_gained(config):
    config.model.backbone.type = 'ResNett'
    assert unknown_names(config, ()) == []


def test_the_page_has_the_measured_times():
    results = ROOT / 'docs' / 'results' / 'misspelt_class.json'
    found = json.loads(results.read_text())
    before, now = map(statistics.median, found['cpu_seconds'].values())
    page = (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8')
    option = found['command'].split('.py ')[-1]
    assert (
        f'| `{option}`, until its message | {before:.1f} s | {now:.2f} s | '
        f'{now / before:.2f} |'
    ) in page


def test_what_is_registered_already_is_known(config, light, monkeypatch):
    """By a module that a config imports by itself, without torch."""
    config.model.backbone.type = 'ResNett'
    monkeypatch.setitem(registries.MODELS._module_dict, 'ResNett', dict)
    assert unknown_names(config, ()) == []


def test_a_registry_of_another_package_may_know_more(
    config, light, monkeypatch
):
    config.model.backbone.type = 'ResNett'
    children = dict(registries.MODELS.children)
    children['mine'] = Registry('model', scope='mine', locations=['mine'])
    monkeypatch.setattr(registries.MODELS, '_children', children)
    assert unknown_names(config, ()) == []


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package alone in the world."""
    folder = tmp_path / 'alone'
    (folder / 'sub').mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(names, 'SOURCES', ('alone',))
    return folder


def test_names_are_words_of_their_own(package):
    (package / 'sub' / 'a.py').write_text(
        "class Whole: ...\nclass Begins_: ...\n# Said\nx = 'Text'\n"
    )
    asked = {'Whole', 'hole', 'Whol', 'Begins', 'Said', 'Text', 'Else'}
    assert unseen(asked) == {'hole', 'Whol', 'Begins', 'Else'}


def test_folders_behind_links_count_and_configs_do_not(package, tmp_path):
    (package / 'a.py').write_text('')
    (package / '.mim').mkdir()
    (package / '.mim' / 'b.py').write_text('class InConfig: ...')
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'c.py').write_text('class Linked: ...')
    (package / 'link').symlink_to(other)
    (other / 'back').symlink_to(package)  # round and round
    assert unseen({'Linked', 'InConfig'}) == {'InConfig'}
    assert len([*names.source_files('alone')]) == 2, 'each is read once'


def test_without_sources_nothing_is_certain(package, monkeypatch):
    assert unseen({'Anything'}) == set()
    monkeypatch.setattr(names, 'SOURCES', ('no_such_package',))
    assert unseen({'Anything'}) == set()


def test_suggestions_are_spelt_for_the_scope():
    found = registered_names('mmpretrain')
    assert 'VisionTransformer' in found['MODELS']
    assert 'luminet_mm.KDLoss' in found['MODELS']
    assert 'IterTimerHook' in found['HOOKS']
    assert 'Accuracy' in found['METRICS']
    others = {'FasterRCNN', 'mmdet.FasterRCNN', 'CocoMetric'}
    assert not others & {*found['MODELS'], *found['METRICS']}
    assert 'CocoMetric' in registered_names('mmdet')['METRICS']
