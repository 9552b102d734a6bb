"""tools/cache_teacher.py for detectors, and tools/train.py with its files."""

import json

import box_caching
import pytest
from box_caching import HOOKS, IMAGES, PACK, PIPELINE, data, model_config
from mmengine.config import Config


@pytest.fixture
def boxes(tmp_path):
    """The config of a distilled detector whose teacher is to be cached."""
    photos = box_caching.make_photos(tmp_path / 'photos')
    return Config(
        dict(
            default_scope='mmdet',
            model=model_config(box_caching.teacher_block(tmp_path)),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=data(photos),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            custom_hooks=HOOKS,
            randomness=dict(seed=0),
            work_dir=str(tmp_path / 'work'),
        )
    )


def test_write_boxes_then_train(run_tool, boxes, dump, tmp_path, capsys):
    boxes.model.teacher.boxes_per_step = 4
    path = dump(boxes)
    with pytest.raises(SystemExit):
        run_tool('train', path)
    assert 'no cache in' in capsys.readouterr().err
    run_tool('cache_teacher', path, '--boxes', 10, '--jittered', 3)
    out = capsys.readouterr().out
    assert '6 images, 2 views of each, 10 boxes of a view with 5 logi' in out
    header = json.loads((tmp_path / 'cache12' / 'cache.json').read_text())
    assert len(header['ids']) == IMAGES and 0 <= header['top1'] <= 100
    run_tool('cache_teacher', path, '--boxes', 10, '--jittered', 3)
    assert 'file 1 of' not in capsys.readouterr().out, 'it is whole'
    run_tool('train', path)
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()
    boxes.model.teacher.boxes_per_step = 11
    with pytest.raises(SystemExit):
        run_tool('train', dump(boxes))
    error = capsys.readouterr().err
    assert 'model.teacher.boxes_per_step: 11, and the cache has 10' in error
    steps = [*PIPELINE[:-1], dict(type='PhotoMetricDistortion'), PACK]
    boxes.train_dataloader.dataset.pipeline = steps
    with pytest.raises(SystemExit):
        run_tool('cache_teacher', dump(boxes))
    error = capsys.readouterr().err
    assert 'PhotoMetricDistortion makes views that a box cache' in error
