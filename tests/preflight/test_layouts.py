"""What is said of data that are not there, or lie elsewhere."""

import hashlib
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset
from mmpretrain.datasets import CIFAR10, CIFAR100, CustomDataset, ImageNet

from luminet_mm.preflight.layouts import layout_problems


@pytest.fixture(autouse=True)
def _empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def touch(*paths):
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def only(problems):
    (line,) = problems
    return line


@pytest.mark.parametrize('cls', [CIFAR10, CIFAR100])
def test_cifar_without_files(cls):
    line = only(layout_problems(cls, dict(data_root='data/cifar')))
    assert f'data/cifar/{cls.base_folder}/{cls.train_list[0][0]}' in line
    assert cls.url in line
    assert f'tar -xzf {cls.filename} -C data/cifar' in line


def test_cifar_damaged_and_whole(monkeypatch):
    folder = Path('data/cifar-100-python')
    touch(folder / 'train', folder / 'test')
    line = only(layout_problems(CIFAR100, dict(data_root='data')))
    assert f'{folder}/train is not CIFAR100 or is damaged' in line
    empty = hashlib.md5(b'').hexdigest()
    monkeypatch.setattr(CIFAR100, 'train_list', [['train', empty]])
    monkeypatch.setattr(CIFAR100, 'test_list', [['test', empty]])
    assert layout_problems(CIFAR100, dict(data_root='data')) == []


def test_imagenet():
    cfg = dict(data_root='data/imagenet', split='val')
    line = only(layout_problems(ImageNet, cfg))
    assert 'no folder data/imagenet/val' in line
    assert 'https://image-net.org' in line

    touch('data/imagenet/val/ILSVRC2012_val_00000001.JPEG')
    line = only(layout_problems(ImageNet, cfg))
    assert 'data/imagenet/val has 0 class folders, not 1000' in line
    assert 'data/imagenet/meta/val.txt' in line

    touch('data/imagenet/meta/val.txt')
    assert layout_problems(ImageNet, cfg) == []

    for number in range(1000):
        Path('data/imagenet/train', f'n{number}').mkdir(parents=True)
    cfg = dict(data_root='data/imagenet', split='train')
    assert layout_problems(ImageNet, cfg) == []


def tiny(split):
    return dict(data_root='data/tiny-imagenet-200', data_prefix=split)


def test_tiny_imagenet():
    root = Path('data/tiny-imagenet-200')
    line = only(layout_problems(CustomDataset, tiny('val')))
    assert f'no file {root}/wnids.txt' in line
    assert 'tiny-imagenet-200.zip -d data' in line

    root.mkdir(parents=True)
    (root / 'wnids.txt').write_text('n2\nn1\n')
    touch(root / 'train/n1/images/0.JPEG', root / 'train/n2/images/1.JPEG')
    assert layout_problems(CustomDataset, tiny('train')) == []

    # as unpacked
    touch(root / 'val/images/0.JPEG', root / 'val/val_annotations.txt')
    line = only(layout_problems(CustomDataset, tiny('val')))
    assert 'images, n1, n2' in line
    assert f'python tools/prepare_tiny_imagenet.py {root}' in line

    # sorted, with the old folder left: it would be class 0
    touch(root / 'val/n1/0.JPEG', root / 'val/n2/1.JPEG')
    line = only(layout_problems(CustomDataset, tiny('val')))
    assert 'differ: images;' in line

    (root / 'val/images/0.JPEG').unlink()
    (root / 'val/images').rmdir()
    assert layout_problems(CustomDataset, tiny('val')) == []


def test_class_folders():
    cfg = dict(data_root='data', data_prefix=dict(img_path='val'))
    assert 'no folder data/val' in only(layout_problems(CustomDataset, cfg))
    touch('data/val/0.png')
    line = only(layout_problems(CustomDataset, cfg))
    assert 'data/val has no folder; it needs one per class' in line
    touch('data/val/cat/0.png')
    assert layout_problems(CustomDataset, cfg) == []


@pytest.mark.parametrize(
    ('cls', 'cfg'),
    [
        (None, {}),
        (CocoDataset, dict(data_root='data/coco')),
        (CustomDataset, dict(data_root='x', ann_file='labels.txt')),
        (CustomDataset, dict(data_root='x', with_label=False)),
        (ImageNet, dict(data_root='x', split='test')),
    ],
)
def test_other_layouts_are_left_to_others(cls, cfg):
    assert layout_problems(cls, cfg) is None
