"""tools/train.py and tools/test.py on a classifier of MMPretrain."""

import pickle

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from tiny_cls import classifier, distiller


@pytest.fixture
def config(tmp_path):
    """A whole config: a tiny ResNet on a folder of images per class."""
    draw = np.random.default_rng(0)
    for split in ('train', 'test'):
        for name in ('cat', 'dog'):
            folder = tmp_path / 'data' / split / name
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = draw.integers(0, 255, (32, 32, 3), np.uint8)
                cv2.imwrite(str(folder / f'{name}{number}.png'), pixels)

    def loader(split):
        return dict(
            batch_size=3,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
            dataset=dict(
                type='CustomDataset',
                data_root=str(tmp_path / 'data'),
                data_prefix=split,
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='PackInputs'),
                ],
            ),
        )

    return Config(
        dict(
            model=distiller(
                classifier(num_classes=2),
                classifier(num_classes=2, width=12),
            ),
            default_scope='mmpretrain',
            train_dataloader=loader('train'),
            val_dataloader=loader('test'),
            test_dataloader=loader('test'),
            val_evaluator=dict(type='Accuracy'),
            test_evaluator=dict(type='Accuracy'),
            train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                # as in MMPretrain's own default_runtime
                visualization=dict(type='VisualizationHook', enable=False),
            ),
            visualizer=dict(
                type='UniversalVisualizer',
                vis_backends=[dict(type='LocalVisBackend')],
            ),
            randomness=dict(seed=0),
            work_dir=str(tmp_path / 'work'),
        )
    )


def test_train_then_test(run_tool, config, dump, tmp_path, capsys):
    run_tool('train', dump(config))
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    assert 'accuracy/top1' in capsys.readouterr().out
    out = tmp_path / 'predictions.pkl'
    painted = tmp_path / 'painted'
    run_tool(
        'test',
        dump(config),
        checkpoint,
        '--out',
        out,
        '--show-dir',
        painted,
    )
    assert len(pickle.loads(out.read_bytes())) == 6
    assert len(list(painted.iterdir())) == 6, 'every image is painted'
    assert 'accuracy/top1' in capsys.readouterr().out


def test_tta_is_the_mean_of_image_and_mirror_image(
    run_tool, config, dump, tmp_path
):
    run_tool('train', dump(config))
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'

    def scores(*flags):
        out = tmp_path / 'scores.pkl'
        run_tool('test', dump(config), checkpoint, '--out', out, *flags)
        return np.array(
            [
                item['pred_score'].tolist()
                for item in pickle.loads(out.read_bytes())
            ]
        )

    plain, both = scores(), scores('--tta')
    pipeline = config.test_dataloader.dataset.pipeline
    pipeline.insert(1, dict(type='RandomFlip', prob=1.0))
    np.testing.assert_allclose(both, (plain + scores()) / 2, rtol=1e-4)


@pytest.fixture
def checkpoint(tmp_path):
    """A file, which nobody reads."""
    (tmp_path / 'any.pth').touch()
    return str(tmp_path / 'any.pth')


def test_tta_is_not_painted(run_tool, config, dump, checkpoint, capsys):
    flags = '--tta', '--show-dir', 'x'
    with pytest.raises(SystemExit):
        run_tool('test', dump(config), checkpoint, *flags)
    assert 'cannot draw' in capsys.readouterr().err


def test_show_needs_the_hook_of_classifiers(
    run_tool, config, dump, checkpoint, capsys
):
    del config.default_hooks['visualization']
    with pytest.raises(SystemExit):
        run_tool('test', dump(config), checkpoint, '--show-dir', 'x')
    assert "dict(type='VisualizationHook')" in capsys.readouterr().err
