"""tools/cache_teacher.py, and tools/train.py with what it wrote."""

import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope
from tiny_cls import build, classifier, distiller

from luminet_mm.datasets.replay import ReplayDataset, ReplaySampler
from luminet_mm.hooks import TeacherCheckHook
from luminet_mm.preflight.caches import cached_problems
from luminet_mm.runs.launchers import LaunchError

ROOT = Path(__file__).parents[2]
CLASSES = ('cat', 'dog')


@pytest.fixture
def replayed(tmp_path):
    """The config of a distillation with KD, a real teacher and three views."""
    draw = np.random.default_rng(0)
    for name in CLASSES:
        folder = tmp_path / 'data' / name
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = draw.integers(0, 255, (32, 32, 3), np.uint8)
            cv2.imwrite(str(folder / f'{name}{number}.png'), pixels)
    teacher = classifier(num_classes=2, width=12)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        state = build(teacher, seed=3).state_dict()
    torch.save(state, tmp_path / 'teacher.pth')
    block = dict(
        config=dict(model=teacher),
        checkpoint=str(tmp_path / 'teacher.pth'),
        cache=str(tmp_path / 'cache'),
    )
    return Config(
        dict(
            default_scope='mmpretrain',
            model=distiller(
                classifier(num_classes=2),
                [block],
                loss_kd=dict(type='luminet_mm.KDLoss', signal='logits'),
            ),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='luminet_mm.ReplaySampler'),
                dataset=dict(
                    type='luminet_mm.ReplayDataset',
                    rounds=3,
                    dataset=dict(
                        type='CustomDataset',
                        data_root=str(tmp_path / 'data'),
                        pipeline=[
                            dict(type='LoadImageFromFile'),
                            dict(type='RandomCrop', crop_size=32, padding=4),
                            dict(type='PackInputs'),
                        ],
                    ),
                ),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            custom_hooks=[dict(type='luminet_mm.TeacherCheckHook')],
            randomness=dict(seed=0),
            work_dir=str(tmp_path / 'work'),
        )
    )


def rows(folder):
    return [np.load(folder / f'round_00{i}.npy') for i in range(3)]


def test_write_then_train(run_tool, replayed, dump, tmp_path, capsys):
    path = dump(replayed)
    with pytest.raises(SystemExit):
        run_tool('train', path)
    assert 'no cache in' in capsys.readouterr().err
    run_tool('cache_teacher', path)
    out = capsys.readouterr().out
    assert '6 images, 3 views of each, 2 logits in float32' in out
    header = json.loads((tmp_path / 'cache' / 'cache.json').read_text())
    assert header['data']['classes'] == list(CLASSES)
    assert list(header['data']['bytes'])[0] == 'cat/cat0.png'
    found = rows(tmp_path / 'cache')
    assert all(each.shape == (6, 2) and each.all() for each in found)
    guesses = np.stack(found).argmax(2)
    right = guesses == [0, 0, 0, 1, 1, 1]
    assert header['top1'] == round(100 * right.mean(), 2)
    run_tool('cache_teacher', path)
    assert 'were missing' not in capsys.readouterr().out, 'it is whole'
    # two rounds cannot give the third, whose views they do not have
    last = tmp_path / 'cache' / 'round_002.npy'
    last.unlink()
    replayed.train_dataloader.dataset.rounds = 2
    with pytest.raises(SystemExit):
        run_tool('cache_teacher', dump(replayed))
    assert 'round 3 is missing' in capsys.readouterr().err
    replayed.train_dataloader.dataset.rounds = 3
    path = dump(replayed)
    run_tool('cache_teacher', path)
    assert np.array_equal(np.load(last), found[2])
    run_tool('train', path)
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()
    # a file that is replaced is found, though its name and label stay
    image = tmp_path / 'data' / 'cat' / 'cat0.png'
    image.write_bytes((image.parent / 'cat1.png').read_bytes())
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run_tool('train', path, '--overwrite')
    error = capsys.readouterr().err
    assert re.search('error: .*(data.bytes|view 0 has other pixels)', error)


def test_a_config_in_pure_python(load_tool, replayed):
    """Its types are classes: nothing of the cache is missed."""
    replayed.train_dataloader.dataset.type = ReplayDataset
    replayed.train_dataloader.sampler.type = ReplaySampler
    replayed.custom_hooks[0].type = TeacherCheckHook
    lines = cached_problems(replayed)  # of the folder, not there yet
    assert lines and not [line for line in lines if 'Replay' in line]
    assert not [line for line in lines if 'custom_hooks' in line]
    replayed.train_dataloader.dataset.type = BaseDataset
    assert any('ReplayDataset' in line for line in cached_problems(replayed))
    with pytest.raises(LaunchError, match='drawn again in each run'):
        load_tool('cache_teacher').take_caches(deepcopy(replayed), None)
    replayed.train_dataloader.dataset.type = ReplayDataset
    assert load_tool('cache_teacher').take_caches(replayed, None)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.model.teacher[0].pop('cache'), 'no folder to write to'),
        (
            lambda c: c.train_dataloader.update(
                dataset=c.train_dataloader.dataset.dataset
            ),
            'cannot be cached. Set train_dataloader.dataset',
        ),
        (
            lambda c: c.model.distill.loss_kd.update(signal='feats'),
            "it reads 'feats' of the teacher",
        ),
        (
            lambda c: c.model.update(
                train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)])
            ),
            'train_cfg.augments mixes images',
        ),
    ],
)
def test_what_cannot_be_cached(
    run_tool, replayed, dump, capsys, change, message
):
    change(replayed)
    with pytest.raises(SystemExit):
        run_tool('cache_teacher', dump(replayed))
    assert message in capsys.readouterr().err


def test_padded_images_are_refused(run_tool, replayed, dump, tmp_path, capsys):
    image = tmp_path / 'data' / 'dog' / 'dog1.png'
    cv2.imwrite(str(image), np.zeros((40, 32, 3), np.uint8))
    replayed.train_dataloader.dataset.dataset.pipeline.pop(1)
    with pytest.raises(SystemExit):
        run_tool('cache_teacher', dump(replayed))
    assert '32x32, 40x32 pixels and would be padded' in capsys.readouterr().err
    assert not (tmp_path / 'cache' / 'cache.json').exists()


@pytest.mark.slow
def test_two_processes_write_what_one_does(run_tool, replayed, dump, tmp_path):
    replayed.train_dataloader.batch_size = 1
    path = dump(replayed)
    run_tool('cache_teacher', path)
    command = [sys.executable, '-m', 'torch.distributed.run']
    command += ['--nproc_per_node', '2', '--master_port', '29517']
    command += [ROOT / 'tools' / 'cache_teacher.py', path]
    command += ['--launcher', 'pytorch', '--out', tmp_path / 'two']
    subprocess.run(
        list(map(str, command)),
        check=True,
        cwd=ROOT,
        env={
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'CUDA_VISIBLE_DEVICES': '-1',
        },
        timeout=280,
    )
    for one, two in zip(rows(tmp_path / 'cache'), rows(tmp_path / 'two')):
        np.testing.assert_array_equal(one, two)
    headers = [
        json.loads((tmp_path / folder / 'cache.json').read_text())
        for folder in ('cache', 'two')
    ]
    assert headers[0] == headers[1] and 'top1' in headers[0]
