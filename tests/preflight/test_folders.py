"""Class folders, and lists of labelled photos."""

import pytest
from mmengine.config import Config
from PIL import Image

from luminet_mm.preflight.data import data_findings


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (100, 80)).save(path)


def check(scope, complete=True, **dataset):
    cfg = dict(train_dataloader=dict(dataset=dataset), default_scope=scope)
    return data_findings(Config(cfg), ('train',), complete)


@pytest.fixture
def folders(tmp_path):
    for name in ('cat', 'dog'):
        for number in range(2):
            photo(tmp_path / name / f'deeper/{number}.png')
    return tmp_path


@pytest.mark.parametrize('complete', [False, True])
def test_class_folders(folders, complete):
    def look():
        return check(
            'mmpretrain',
            complete,
            type='CustomDataset',
            data_prefix=str(folders),
            pipeline=[dict(type='LoadImageFromFile')],
        )

    found = look()
    assert (found.faults, found.warnings) == ([], [])
    (folders / 'ant').mkdir()
    (line,) = look().warnings
    assert '1 class folder in' in line and 'without photos, ant' in line
    (folders / 'dog/deeper/1.png').write_bytes(b'no')
    faults = look().faults
    assert len(faults) == complete
    assert all('dog/deeper/1.png (not a photo' in line for line in faults)
    for path in folders.glob('*/*/*.png'):
        path.unlink()
    (line,) = look().faults
    assert f'no folder in {folders} has a photo' in line


@pytest.mark.parametrize('complete', [False, True])
def test_lists_of_photos(folders, complete):
    def look(text):
        (folders / 'train.txt').write_text(text)
        return check(
            'mmpretrain',
            complete,
            type='CustomDataset',
            data_root=str(folders),
            ann_file='train.txt',
            metainfo=dict(classes=('cat', 'dog')),
        )

    good = 'cat/deeper/0.png 0\ndog/deeper/0.png 1\n'
    found = look(good)
    assert (found.faults, found.warnings) == ([], [])
    assert ' 0 to 1' in look(good + 'dog/deeper/1.png 2').faults[0]
    assert (
        'dog/gone.png (no such file)'
        in look(f'{good}dog/gone.png 1').faults[0]
    )
    assert look('').faults
    assert look('cat/deeper/0.png\n').faults
