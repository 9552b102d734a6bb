"""Data sets of other kinds: VOC files, own classes, other machines."""

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
    assert '2 photos with a different size from the annotations' in line
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


def test_files_of_another_machine(tmp_path):
    """The tool reads them through MMEngine; a run does not look."""
    photo(tmp_path / 'cat/0.png')
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
        data_prefix=str(tmp_path),
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=dict(backend='local'))
        ],
    )
    assert not check('mmpretrain', True, **near).faults
