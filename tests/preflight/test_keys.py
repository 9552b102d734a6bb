"""Keys that nobody reads, at the top level and on the command line."""

import argparse
import copy
import inspect

import pytest
import tiny
from mmengine.config import Config
from mmengine.runner import Runner

from luminet_mm.launch.command_line import load_config
from luminet_mm.preflight import ConfigError, check_config
from luminet_mm.preflight.keys import (
    OF_RUNNER,
    option_problems,
    shape_problems,
    top_problems,
)


@pytest.fixture(scope='module')
def model():
    return tiny.distiller()


@pytest.fixture
def cfg(model):
    return Config(
        dict(
            model=copy.deepcopy(model),
            default_scope='mmdet',
            data_root='data/mine/',
            train_dataloader=dict(
                batch_size=2,
                dataset=dict(type='CocoDataset', data_root='data/mine/'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=3),
            param_scheduler=[dict(type='LinearLR', begin=0, end=5)],
            custom_hooks=[dict(type='luminet_mm.TeacherCheckHook')],
            work_dir='work_dirs/x',
        )
    )


@pytest.mark.parametrize(
    'option, message',
    [
        (
            'distill.loss_luminet.tau',
            'nothing reads it; did you mean model.distill.loss_luminet.tau?',
        ),
        ('teacher.checkpoint', 'did you mean model.teacher.checkpoint?'),
        ('backbone.depth', 'did you mean model.backbone.depth?'),
        (
            'loss_luminet.tau',
            'did you mean model.distill.loss_luminet.tau?',
        ),
        ('train_dataloder.batch_size', "did you mean 'train_dataloader'?"),
        ('zebra', 'zebra: nothing reads it'),
        (
            'data_root',
            'it is a variable of the config file, whose value was used when '
            'the file was read. Set what it was used for, such as '
            'train_dataloader.dataset.data_root',
        ),
        ('train_cfg.max_epoch', "did you mean 'max_epochs'?"),
        (
            'param_scheduler.1.end',
            'param_scheduler is a list of length 1, counted from 0',
        ),
        ('custom_hooks.first.metric', 'custom_hooks is a list of length 1'),
        ('work_dir.name', "work_dir is 'work_dirs/x', which has no entries"),
    ],
)
def test_an_option_that_nobody_reads(cfg, option, message):
    (line,) = option_problems(cfg, {option: 1})
    assert line.startswith(f'--cfg-options {option.split(".")[0]}')
    assert message in line


@pytest.mark.parametrize(
    'options',
    [
        {'model.distill.loss_luminet.tau': 2.0},
        {'model.backbone.depth': 50},
        {'model.backbone.with_cp': True},  # new: its class has it
        {'param_scheduler.0.end': 10},
        {'custom_hooks.0.min_metric': 0.3},
        {'randomness.seed': 1},
        {'load_from': 'a.pth'},
        {'auto_scale_lr.enable': True},
        {'env_cfg.cudnn_benchmark': True},
        {'train_dataloader.num_workers': 0},
        {
            'model.distill.loss_luminets.type': 'luminet_mm.KDLoss',
            'model.distill.loss_luminets.signal': 'roi.cls_score',
        },
        {'model.distill.loss_luminets': dict(type='luminet_mm.KDLoss')},
    ],
)
def test_options_that_are_read_pass(cfg, options):
    assert not option_problems(cfg, options)


def test_options_are_faults_of_the_run(cfg, tmp_path):
    """With the others, and before a scheduler is built of them."""
    path = tmp_path / 'config.py'
    path.write_text(
        '\n'.join(f'{k} = {v!r}' for k, v in cfg.to_dict().items())
    )
    args = argparse.Namespace(
        config=str(path),
        cfg_options={'distill.loss_luminet.tau': 2.0},
        launcher='none',
        local_rank=0,
        work_dir=None,
    )
    merged = load_config(args)
    with pytest.raises(ConfigError) as error:
        check_config(merged, ('train',), args.faults)
    text = str(error.value)
    assert 'did you mean model.distill.loss_luminet.tau?' in text
    assert 'distill: nothing reads it at the top level' in text


@pytest.mark.parametrize('name', ['teacher', 'distill'])
def test_blocks_of_the_model_at_the_top_level(cfg, name):
    cfg[name] = dict(loss_luminet=dict(tau=2.0))
    (line,) = top_problems(cfg)
    assert f'{name}: nothing reads it at the top level; ' in line
    assert f'model=dict({name}=...)' in line
    # a variable of the file that the model is made of
    cfg[name] = copy.deepcopy(cfg.model[name])
    assert not top_problems(cfg)
    cfg[name] = 'teacher.pth'
    assert not top_problems(cfg)


def test_a_teacher_among_several_may_be_a_variable(cfg):
    first = copy.deepcopy(cfg.model.teacher)
    cfg.teacher = first
    cfg.model.teacher = [copy.deepcopy(first), dict(first, weight=2)]
    assert not top_problems(cfg)


def test_misspelt_blocks(cfg):
    cfg.custom_hook = cfg.pop('custom_hooks')
    assert top_problems(cfg) == [
        "custom_hook: nothing reads it; did you mean 'custom_hooks'?"
    ]
    cfg.custom_hooks = []  # both are there: the other is a variable
    assert not top_problems(cfg)


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('train_dataloader', 5, 'train_dataloader: 5 is not a block'),
        ('custom_hooks', 'EMAHook', "'EMAHook' is not a list of blocks"),
        ('custom_hooks', {}, ''),
        ('param_scheduler', True, 'True is not a block or a list of blocks'),
        ('val_evaluator', 'bbox', "'bbox' is not a block or a list"),
        ('model', None, 'model: missing; it defines what is trained'),
        ('default_scope', 5, 'default_scope: 5 is not an installed package'),
        ('default_scope', 'mmdett', "package; did you mean 'mmdet'?"),
        ('load_from', 5, 'load_from: 5 is not a string'),
    ],
)
def test_what_is_no_block_is_said_once(cfg, key, value, message):
    cfg[key] = value
    lines = shape_problems(cfg)
    assert len(lines) == bool(message)
    assert all(message in line for line in lines)


@pytest.mark.parametrize(
    'key, line',
    [
        (
            'train_cfg',
            'train_cfg: missing; train_dataloader and optim_wrapper',
        ),
        ('optim_wrapper', 'optim_wrapper: missing; train_dataloader and'),
        ('train_dataloader', 'train_dataloader: missing; train_cfg and'),
    ],
)
def test_what_training_needs_together(cfg, key, line):
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
    cfg.pop(key)
    with pytest.raises(ConfigError) as error:
        check_config(cfg, ('train',))
    assert f'  - {line}' in str(error.value)


def test_a_visualizer_needs_a_type():
    """Configs without MMDetection's or MMPretrain's runtime have none."""
    backends = [dict(type='TensorboardVisBackend')]
    cfg = dict(model=dict(), visualizer=dict(vis_backends=backends))
    (line,) = shape_problems(cfg)
    assert line.startswith('visualizer: no type. Add type=')
    cfg['visualizer']['type'] = 'UniversalVisualizer'
    assert not shape_problems(cfg)


def test_the_names_that_a_runner_reads_are_all_there():
    """They are written out, since reading them would import torch."""
    arguments = set(inspect.signature(Runner.__init__).parameters)
    assert set(OF_RUNNER) == arguments - {'self', 'cfg'}
