"""tools/convert_mdistiller.py: their files, our model, the same answers."""

import argparse

import numpy as np
import pytest
import torch
from mdistiller_nets import (
    GOLDEN,
    TOLERANCE,
    classifier,
    golden_logits,
    logits,
    their_state_dict,
)
from mmengine.runner.checkpoint import load_checkpoint as mmengine_load
from mmpretrain.datasets import CIFAR100

from luminet_mm.loading.checkpoint import load_checkpoint
from luminet_mm.models.mdistiller import NETWORKS
from luminet_mm.teachers.frozen import FrozenTeacher


@pytest.fixture
def source(tmp_path):
    """Return a function that saves a checkpoint of theirs."""

    def save(content, name='theirs.pth'):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize('name', NETWORKS)
def test_same_answers_after_conversion(name, run_tool, source, tmp_path):
    path = source(dict(model=their_state_dict(name), epoch=240))
    target = tmp_path / 'new' / 'ours.pth'
    run_tool('convert_mdistiller', name, path, target)
    checkpoint = load_checkpoint(target)
    for file in (path, target):
        file.unlink()  # pytest would keep hundreds of megabytes
    assert len(checkpoint['state_dict']) == GOLDEN[name]['num_state_tensors']
    model = classifier(name).double()
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    torch.testing.assert_close(logits(model), golden_logits(name), **TOLERANCE)


def _optimizer():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    weight.grad = torch.ones(2)
    optimizer.step()
    return optimizer.state_dict()


def _with_prefix(prefix, state):
    return {f'{prefix}{key}': value for key, value in state.items()}


_STATE = their_state_dict('resnet8x4')
# What the two projects' training scripts write.
LAYOUTS = dict(
    bare=_STATE,
    several_gpus=dict(model=_with_prefix('module.', _STATE)),
    repdistiller=dict(
        epoch=240,
        model=_STATE,
        accuracy=torch.tensor(79.4),
        optimizer=_optimizer(),
    ),
    repdistiller_last=dict(
        opt=argparse.Namespace(model='resnet8x4', lr_decay_epochs=[150]),
        model=_STATE,
        optimizer=_optimizer(),
    ),
    mdistiller=dict(
        epoch=240,
        model=_with_prefix('module.student.', _STATE)
        | _with_prefix('module.teacher.', their_state_dict('vgg8')),
        optimizer=_optimizer(),
        best_acc=np.float64(76.3),
    ),
)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_layouts_of_their_files(layout, run_tool, source, tmp_path, capsys):
    path, target = source(LAYOUTS[layout]), tmp_path / 'ours.pth'
    run_tool('convert_mdistiller', 'resnet8x4', path, target)
    # as anyone would load it, without a list of allowed types
    ours = torch.load(target, weights_only=True)['state_dict']
    for theirs, key in (
        ('conv1.weight', 'backbone.stem.0.weight'),
        (
            'layer3.0.bn2.running_mean',
            'backbone.layer3.0.conv2.1.running_mean',
        ),
        ('fc.weight', 'head.fc.weight'),
    ):
        assert torch.equal(ours[key], _STATE[theirs])
    assert 'resnet8x4 with 100 classes' in capsys.readouterr().out


def test_classes_of_cifar100_and_no_others(run_tool, source, tmp_path):
    state = dict(_STATE)
    run_tool(
        'convert_mdistiller', 'resnet8x4', source(state), tmp_path / 'a.pth'
    )
    state['fc.weight'], state['fc.bias'] = torch.ones(10, 256), torch.ones(10)
    run_tool(
        'convert_mdistiller', 'resnet8x4', source(state), tmp_path / 'b.pth'
    )
    meta = load_checkpoint(tmp_path / 'a.pth')['meta']
    assert meta['dataset_meta']['classes'] == CIFAR100.METAINFO['classes']
    # torchvision numbers them by the alphabet
    assert list(meta['dataset_meta']['classes']) == sorted(
        CIFAR100.METAINFO['classes']
    )
    assert 'dataset_meta' not in load_checkpoint(tmp_path / 'b.pth')['meta']


def test_result_is_a_teacher_and_a_checkpoint_to_test(
    run_tool, source, tmp_path
):
    state = {key: value.float() for key, value in _STATE.items()}
    path = tmp_path / 'ours.pth'
    run_tool('convert_mdistiller', 'resnet8x4', source(state), path)
    model = classifier('resnet8x4')
    mmengine_load(model, str(path), strict=True)
    config = dict(
        type='ImageClassifier',
        backbone=NETWORKS['resnet8x4'].backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=100, in_channels=256),
    )
    teacher = FrozenTeacher(config, str(path), default_scope='mmpretrain')
    assert len(teacher.classes) == 100
    assert torch.equal(logits(teacher.model), logits(model))


def test_wrong_network(run_tool, source, tmp_path, capsys):
    path, target = source(_STATE), tmp_path / 'ours.pth'
    with pytest.raises(SystemExit):
        run_tool('convert_mdistiller', 'resnet8', path, target)
    assert "'resnet8'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        run_tool('convert_mdistiller', 'resnet32x4', path, target)
    text = str(error.value)
    assert f'{path}: These are not the weights of resnet32x4' in text
    assert 'backbone.layer1.1.conv1.0.weight: missing' in text
    assert not target.exists()


def test_misshaped_key(run_tool, source, tmp_path):
    state = dict(
        _STATE, **{'layer2.0.conv2.weight': torch.ones(128, 64, 3, 3)}
    )
    with pytest.raises(SystemExit) as error:
        run_tool(
            'convert_mdistiller', 'resnet8x4', source(state), tmp_path / 'o'
        )
    assert 'layer2.0.conv2.weight: (128, 64, 3, 3) in the file, (128, ' in str(
        error.value
    )


def test_broken_and_missing_files(run_tool, source, tmp_path):
    whole = source(_STATE)
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for path, message in (
        (cut, 'cannot be read'),
        (tmp_path / 'gone.pth', 'does not exist'),
        (source(dict(model=dict(a=1)), 'empty.pth'), 'no weights'),
    ):
        with pytest.raises(SystemExit) as error:
            run_tool('convert_mdistiller', 'resnet8x4', path, tmp_path / 'o')
        assert str(path) in str(error.value) and message in str(error.value)


class Custom:
    """A class that weights do not need."""


def test_a_file_that_would_run_code_is_refused(run_tool, source, tmp_path):
    path = source(dict(model=_STATE, extra=Custom()))
    with pytest.raises(SystemExit, match='refused'):
        run_tool('convert_mdistiller', 'resnet8x4', path, tmp_path / 'o.pth')


def test_nothing_is_overwritten(run_tool, source, tmp_path):
    target = tmp_path / 'ours.pth'
    target.write_text('precious')
    with pytest.raises(SystemExit, match='already exists'):
        run_tool('convert_mdistiller', 'resnet8x4', source(_STATE), target)
    assert target.read_text() == 'precious'


def test_the_networks_of_the_usage_text_are_all(load_tool):
    """Written out there, since importing them would import torch."""
    assert load_tool('convert_mdistiller').NETWORKS == tuple(NETWORKS)
