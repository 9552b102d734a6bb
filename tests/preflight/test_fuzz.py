"""Configs that are wrong at random: a list of faults or a run, no traceback.

Shipped configs are mutated, with a seed: values of the wrong kind, keys
removed, misspelt, moved, doubled, nested. ``check_config`` may raise
ConfigError alone. Where it passes, the model is built: this package's own
code must then work, or raise an error that it means to raise.
"""

import collections
import copy
import functools
import random
import traceback
from pathlib import Path

import pytest
import tiny_cls
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.launch.console import is_deliberate
from luminet_mm.preflight import ConfigError, check_config
from luminet_mm.preflight.keys import option_problems

ROOT = Path(__file__).parents[2]
SHIPPED = (
    'luminet_frcnn_digits',
    'fcfd_frcnn_r101_r18_coco',
    'handwritten/luminet_resnet_handwritten',
    'handwritten/resnet_student_handwritten',
    'cifar100/luminet_ensemble_wrn-16-2_cifar100',
    'cifar10/kd_cached_resnet56_resnet20_cifar10-tenth',
)
WRONG = (
    None,
    True,
    0,
    5,
    -1.5,
    float('nan'),
    '',
    'gone',
    'luminet_mm.KDLoss',
    '{{nothing}}',
    [],
    [1],
    [[]],
    ['a', 'a'],
    {},
    {'type': 'Gone'},
    {'type': 5},
    {'a': {'b': None}},
    {5: 6},
    (1, 2),
    int,
    print,
    object(),
)


@functools.cache
def shipped(name):
    return Config.fromfile(ROOT / 'configs' / f'{name}.py')


def base(name):
    cfg = copy.deepcopy(shipped(name)._cfg_dict.to_dict())
    teachers = cfg['model'].get('teacher') or []
    for each in [teachers] if isinstance(teachers, dict) else teachers:
        each['checkpoint'] = None
    return cfg


def small():
    """A classifier on made data that is built in a tenth of a second."""
    cfg = base('handwritten/luminet_resnet_handwritten')
    student, teacher = (
        tiny_cls.classifier(width=width, num_classes=10) for width in (8, 12)
    )
    cfg['model'] = tiny_cls.distiller(student, teacher)
    cfg['data_preprocessor'] = None
    return cfg


def places(node, path=()):
    """Every entry of nested dicts and lists, as a path."""
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    else:
        items = []
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def parent_of(cfg, path):
    for key in path[:-1]:
        cfg = cfg[key]
    return cfg


def misspelt(rng, word):
    word = str(word)
    i = rng.randrange(max(len(word), 1))
    return rng.choice((word[:i] + word[i + 1 :], word + 's', word.upper()))


def mutate(rng, cfg, within=None):
    """Change one entry; the change is returned for the message."""
    known = [path for path in places(cfg) if not within or within(path)]
    # as many changes near the top as deep inside of a pipeline
    depth = rng.choice(sorted({len(path) for path in known}))
    path = rng.choice([path for path in known if len(path) == depth])
    parent, key = parent_of(cfg, path), path[-1]
    kind = rng.choice(
        ('wrong', 'wrong', 'remove', 'misspell', 'move', 'nest', 'twice')
    )
    if kind == 'wrong':
        value = rng.choice(WRONG)
        parent[key] = copy.copy(value) if isinstance(value, dict) else value
        return path, value
    if kind == 'nest':
        parent[key] = rng.choice(([parent[key]], {str(key): parent[key]}))
    elif kind == 'twice':
        parent[key] = [parent[key], parent[key]]
    else:
        value = parent.pop(key)
        if kind == 'misspell' and isinstance(parent, dict):
            parent[misspelt(rng, key)] = value
        if kind == 'move':
            blocks = [p for p in places(cfg) if isinstance(at(cfg, p), dict)]
            target = at(cfg, rng.choice(blocks)) if blocks else cfg
            rng.choice((target, cfg))[str(key)] = value
    return path, kind


def at(cfg, path):
    return parent_of(cfg, path)[path[-1]]


def passes(cfg, said):
    """Whether a config has no fault; anything but a list of them fails."""
    try:
        check_config(cfg)
    except ConfigError as error:
        lines = str(error).splitlines()
        assert lines[0].endswith('fault(s) in the config:')
        assert len(lines) == 1 + int(lines[0].split()[0])
        assert all(line.startswith('  - ') for line in lines[1:])
        said.update('it cannot be read (' in line for line in lines[1:])
        return False
    return True


def wrapped(cfg):
    """A config as one is read; what Config itself refuses is left out."""
    try:
        return Config(cfg)
    except Exception:
        return None


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    """Nothing is downloaded or made; relative paths lead nowhere."""
    for name in SHIPPED:
        shipped(name)
    monkeypatch.chdir(tmp_path)


def fuzz(seeds, said, names=SHIPPED):
    for seed in seeds:
        rng = random.Random(seed)
        cfg = base(names[seed % len(names)])
        changes = []
        for _ in range(rng.choice((1, 1, 2, 4))):
            changes.append(mutate(rng, cfg))
        whole = wrapped(cfg)
        if whole is None:
            continue
        try:
            passes(whole, said)
        except Exception as error:
            raise AssertionError(f'{seed}: {changes}') from error


def test_500_mutations_give_a_list_of_faults_or_none():
    said = collections.Counter()
    fuzz(range(500), said)
    # most have a message of their own
    assert said[True] < 0.1 * said[False], said


@pytest.mark.slow
def test_many_more_mutations():
    fuzz(range(500, 2500), collections.Counter())


def built(cfg):
    """Build the model, as the runner does."""
    model = copy.deepcopy(cfg.model)
    preprocessor = cfg.get('data_preprocessor')
    if isinstance(model, ConfigDict) and preprocessor is not None:
        model.setdefault('data_preprocessor', preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        return MODELS.build(model)


def own_mistake(error):
    """Whether this package's code broke, and not on purpose."""
    while error.__cause__ is not None and not is_deliberate(error):
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if '/luminet_mm/' in f.filename]
    if is_deliberate(error) or not ours:
        return False
    last = frames[-1].filename
    return '/luminet_mm/' in last


def ours(path):
    """Whether an entry is read by this package, not by a stock class."""
    if path[:4] == ('model', 'teacher', 'config', 'model'):
        return len(path) < 6
    return path[0] == 'custom_hooks' or path[:2] in (
        ('model', 'teacher'),
        ('model', 'distill'),
    )


def test_what_passes_is_built_or_refused_on_purpose():
    """Mutations of the blocks that this package reads, which then builds."""
    said, results = collections.Counter(), collections.Counter()
    for seed in range(100):
        rng = random.Random(seed)
        cfg = small()
        change = mutate(rng, cfg, ours)
        whole = wrapped(cfg)
        if whole is None or not passes(whole, said):
            results['refused'] += 1
            continue
        try:
            built(whole)
            results['built'] += 1
        except Exception as error:
            assert not own_mistake(error), (seed, change, error)
            results[f'{change}: {error}'] += 1
    assert results['built'] > 5 and results['refused'] > 50, results
    # values of the teacher's stock parts
    assert sum(results.values()) - results['built'] - results['refused'] < 15


def test_the_unchanged_config_passes_and_is_built():
    cfg = Config(small())
    check_config(cfg)
    built(cfg)


def test_options_of_the_command_line():
    """Keys that are broken at random: lines, never a traceback."""
    cfg = shipped('luminet_frcnn_digits')
    known = ['.'.join(map(str, path)) for path in places(cfg.to_dict())]
    for seed in range(300):
        rng = random.Random(seed)
        words = rng.choice(known).split('.')
        if rng.random() < 0.7:
            words[rng.randrange(len(words))] = rng.choice(
                (misspelt(rng, rng.choice(words)), '', '7', 'x y', 'type')
            )
        if rng.random() < 0.2:
            words = words[1:] or words
        lines = option_problems(cfg, {'.'.join(words): rng.choice(WRONG)})
        assert all(line.startswith('--cfg-options ') for line in lines)
