"""Data sets of other kinds: VOC's files, lists, folders, own classes."""

import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from PIL import Image

from luminet_mm.preflight.data import data_findings

VOC = """<annotation><size><width>{width}</width><height>80</height></size>
<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>11</xmin>
<ymin>21</ymin><xmax>{right}</xmax><ymax>60</ymax></bndbox></object>
</annotation>"""


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (100, 80)).save(path)


def check(scope, complete=True, **dataset):
    cfg = dict(train_dataloader=dict(dataset=dataset), default_scope=scope)
    return data_findings(Config(cfg), ('train',), complete)


@pytest.fixture
def voc(tmp_path):
    def write(name='cat', right=40, width=100):
        for number in ('1', '2'):
            photo(tmp_path / f'JPEGImages/{number}.jpg')
            text = VOC.format(name=name, right=right, width=width)
            path = tmp_path / f'Annotations/{number}.xml'
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        (tmp_path / 'train.txt').write_text('1\n2\n')
        return check(
            'mmdet',
            type='XMLDataset',
            data_root=str(tmp_path),
            ann_file='train.txt',
            data_prefix=dict(sub_data_root='./'),
            metainfo=dict(classes=('cat', 'dog')),
            pipeline=[dict(type='LoadImageFromFile')],
        )

    return write


def test_voc(voc, tmp_path):
    found = voc()
    assert (found.faults, found.warnings) == ([], [])
    (line,) = voc(right=140).warnings
    assert '2 boxes over the edge of their image' in line and '1.jpg' in line
    (line,) = voc(right=5).faults
    assert '2 boxes of zero or negative size' in line
    (line,) = voc(name='cow').faults
    assert 'train_dataloader.dataset: there is no box to train on' in line
    (line,) = voc(width=90).warnings
    assert '2 photos of another size than the annotations say' in line
    (tmp_path / 'Annotations/2.xml').unlink()
    (tmp_path / 'train.txt').write_text('1\n3\n')
    found = check(
        'mmdet',
        type='XMLDataset',
        data_root=str(tmp_path),
        ann_file='train.txt',
        data_prefix=dict(sub_data_root='./'),
        metainfo=dict(classes=('cat',)),
    )
    assert 'it cannot be built: FileNotFoundError' in found.faults[0]


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
    assert '1 of the class folders' in line and 'without a photo, ant' in line
    (folders / 'dog/deeper/1.png').write_bytes(b'no')
    faults = look().faults
    assert len(faults) == complete
    assert all('dog/deeper/1.png (not a photo' in line for line in faults)
    for path in folders.glob('*/*/*.png'):
        path.unlink()
    (line,) = look().faults
    assert f'no folder of {folders} has a photo' in line


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
    assert 'of 0 to 1' in look(good + 'dog/deeper/1.png 2').faults[0]
    assert (
        'dog/gone.png (no such file)'
        in look(f'{good}dog/gone.png 1').faults[0]
    )
    assert look('').faults
    assert look('cat/deeper/0.png\n').faults


@DATASETS.register_module(force=True)
class OwnDataset(BaseDataset):
    def load_data_list(self):
        return [dict(img_path=self.ann_file, instances=[], img_id=1)]


@DATASETS.register_module(force=True)
class OddDataset:
    def __len__(self):
        return 3


def test_classes_of_ones_own(tmp_path):
    path = tmp_path / 'a.png'
    photo(path)
    own = dict(type='mmengine.OwnDataset', ann_file=str(path))
    assert 'no box to train on' in check('mmdet', **own).faults[0]
    path.write_bytes(b'')
    assert 'the file is empty' in '\n'.join(check('mmdet', **own).faults)
    assert not check('mmdet', False, **own).faults
    found = check('mmdet', type='mmengine.OddDataset')
    assert not found.faults
    assert 'not checked, since OddDataset has no' in found.warnings[0]


def test_files_of_another_machine(folders):
    """The tool reads them through MMEngine; a run does not look."""
    far = dict(
        type='CustomDataset',
        data_root='s3://bucket/',
        data_prefix='train',
        backend_args=dict(backend='no-such-backend'),
    )
    assert not check('mmpretrain', False, **far).faults
    assert 'it cannot be built' in check('mmpretrain', True, **far).faults[0]
    near = dict(
        type='CustomDataset',
        data_prefix=str(folders),
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=dict(backend='local'))
        ],
    )
    assert not check('mmpretrain', True, **near).faults
