"""docs/daily-work.md: its settings are read as they stand, and take effect."""

import inspect
import re
from pathlib import Path

import pytest
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, VISBACKENDS, VISUALIZERS, DefaultScope

from luminet_mm.launch.guards import install_guards
from luminet_mm.loading.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs/daily-work.md').read_text('utf-8')
BASE = 'configs/handwritten/kd_resnet_handwritten.py'


def settings(heading):
    """The first block of Python below a heading."""
    part = TEXT.partition(f'\n## {heading}\n')[2].partition('\n## ')[0]
    return re.findall(r'^```python\n(.*?)^```', part, re.M | re.S)[0]


def read(tmp_path, *headings, base=ROOT / BASE):
    """The config that a user has with these settings."""
    text = '\n'.join(settings(each) for each in headings)
    file = tmp_path / 'my_run.py'
    file.write_text(f'_base_ = {str(base)!r}\n{text}')
    return Config.fromfile(file)


def test_the_example_of_a_config(monkeypatch):
    """The first block: what a config of the user's begins with."""
    monkeypatch.chdir(ROOT)
    first = re.search(r'^```python\n(.*?)^```', TEXT, re.M | re.S)[1]
    assert f'_base_ = {BASE!r}' in first
    cfg = Config.fromstring(first.replace(BASE, str(ROOT / BASE)), '.py')
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.model.type == 'luminet_mm.ClassifierDistiller'


@pytest.mark.parametrize(
    'heading, backend',
    [
        ('TensorBoard', 'TensorboardVisBackend'),
        ('Weights & Biases', 'WandbVisBackend'),
        ('MLflow', 'MLflowVisBackend'),
    ],
)
def test_backends_exist_and_take_these_options(tmp_path, heading, backend):
    block = read(tmp_path, heading).visualizer
    local, other = block.vis_backends
    assert (local.type, other.type) == ('LocalVisBackend', backend)
    # no backend opens anything, or imports its package, before it is used
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        with VISUALIZERS.switch_scope_and_registry(None) as registry:
            assert registry.get(block.type)
        options = {k: v for k, v in other.items() if k != 'type'}
        kind = VISBACKENDS.get(backend)
        inspect.signature(kind).bind(save_dir=str(tmp_path), **options)


def test_what_the_monitor_measures_reaches_tensorboard(tmp_path):
    events = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    run = tiny_cls.runner(
        tiny_cls.distiller(),
        tmp_path,
        max_epochs=1,
        default_scope='mmpretrain',
        custom_hooks=[dict(type='luminet_mm.DistillMonitorHook', stop=False)],
        visualizer=read(tmp_path, 'TensorBoard').visualizer,
    )
    run.train()
    (folder,) = tmp_path.glob('*/vis_data')
    log = events.EventAccumulator(str(folder))
    log.Reload()
    assert {'loss_luminet', 'share_luminet'} <= set(log.Tags()['scalars'])
    assert (folder / 'scalars.json').is_file()


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    """A run that averages its weights, accumulates and stops early."""
    folder = tmp_path_factory.mktemp('daily')
    cfg = read(folder, 'Early stopping', 'Gradient accumulation')
    stop = cfg.custom_hooks[-1]
    average = read(folder, 'Averaged weights (EMA)').custom_hooks[-1]
    # nothing is as much better as this
    hooks = [dict(stop, min_delta=200.0), dict(average, momentum=0.5)]
    save = {k: cfg.default_hooks.checkpoint[k] for k in ('save_best', 'rule')}
    run = tiny_cls.runner(
        tiny_cls.distiller(),
        folder,
        max_epochs=6,
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=5, **save)
        ),
        custom_hooks=hooks,
        optim_wrapper=cfg.optim_wrapper,
        **tiny_cls.validation(),
    )
    install_guards(run)
    run.train()
    return run, folder


def test_lists_keep_what_they_inherit(tmp_path):
    for heading in ('Early stopping', 'Averaged weights (EMA)'):
        kinds = [h.type for h in read(tmp_path, heading).custom_hooks]
        assert kinds[0] == 'luminet_mm.TeacherCheckHook' and len(kinds) == 2
        assert HOOKS.get(kinds[1])


def test_patience_counts_validations_and_the_end_is_saved(stopped):
    run, folder = stopped
    assert run.epoch == 1 + settings('Early stopping').count('patience=3') * 3
    assert (folder / 'epoch_4.pth').is_file()
    assert list(folder.glob('best_accuracy_top1_epoch_*.pth'))
    assert run.optim_wrapper._accumulative_counts == 4


def test_a_checkpoint_has_the_averaged_weights(stopped):
    run, folder = stopped
    saved = load_checkpoint(folder / 'epoch_4.pth')
    trained = run.model.state_dict()
    key = 'head.fc.weight'
    raw = saved['ema_state_dict'][f'module.{key}']
    assert torch.equal(raw, trained[key])
    assert not torch.equal(saved['state_dict'][key], raw)
    assert not any('teacher' in each for each in saved['ema_state_dict'])


def test_a_loss_on_frozen_layers_is_refused(tmp_path):
    frozen = read(tmp_path, 'Frozen layers').model.backbone.frozen_stages
    student = tiny_cls.classifier()
    student['backbone']['frozen_stages'] = frozen
    loss = dict(type='luminet_mm.ATLoss', signal=f'backbone.layer{frozen}')
    model = tiny_cls.build(tiny_cls.distiller(student, loss_at=loss))
    data = tiny_cls.prepared(model)
    with pytest.raises(ValueError, match="student's signal has no gradient"):
        model.loss(data['inputs'], data['data_samples'])
    assert "the student's signal has no gradient" in TEXT


def rows():
    """The rows of the table of methods, docs/choosing.md."""
    page = (ROOT / 'docs/choosing.md').read_text('utf-8')
    return re.findall(r'^\| (?!you have|---)(.+) \|$', page, re.M)


@pytest.mark.parametrize('row', rows(), ids=lambda row: row[:30])
def test_numbers_of_the_table_are_in_the_section_it_names(row):
    claims, _, link = row.rpartition(' | ')
    anchor = re.search(r'\(results\.md#([\w-]+)\)', link)[1]
    results = (ROOT / 'docs/results.md').read_text('utf-8')
    sections = re.split(r'^(?=##+ )', results, flags=re.M)
    (section,) = [
        each
        for each in sections
        if re.sub(
            r'[^\w\- ]', '', each.partition('\n')[0].strip('# ').lower()
        ).replace(' ', '-')
        == anchor
    ]
    numbers = re.findall(r'\d+\.\d+', claims)
    assert numbers
    for number in numbers:
        assert re.search(rf'(?<![\d.]){re.escape(number)}(?!\d)', section), (
            number
        )
