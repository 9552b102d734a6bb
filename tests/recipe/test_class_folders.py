"""Folders of images, one for each class."""

import pytest
from shapes import scenes, write_photos

from luminet_mm.recipe.class_folders import read_class_folders
from luminet_mm.recipe.dataset import DataError


def fill(root, *folders, count=5):
    for folder in folders:
        write_photos(root / folder, [picture for picture, _ in scenes(count)])
    return root


def test_train_and_val(tmp_path):
    root = fill(tmp_path, 'train/cat', 'train/dog', 'valid/cat', 'valid/dog')
    data = read_class_folders(root, tmp_path / 'out')
    assert data.classes == ('cat', 'dog') and not data.detects
    assert data.train.photos == root / 'train' and data.train.images == 10
    assert data.val.photos == root / 'valid' and data.val.ann_file is None


@pytest.mark.parametrize('home', ['', 'train/'])
def test_without_validation_some_are_set_aside(tmp_path, home):
    root = fill(tmp_path / 'set', f'{home}cat', f'{home}dog')
    data = read_class_folders(root, tmp_path / 'out')
    parts = [
        s.ann_file.read_text().split('\n') for s in (data.train, data.val)
    ]
    lines = [line for part in parts for line in part if line]
    assert len(lines) == len(set(lines)) == 10 and data.val.images == 2
    for line in lines:
        name, label = line.split()
        assert (data.train.photos / name).is_file()
        assert name.startswith(data.classes[int(label)])


def test_other_classes_in_validation_are_named(tmp_path):
    root = fill(tmp_path, 'train/cat', 'train/dog', 'val/cat', 'val/hen')
    with pytest.raises(DataError, match='different class folders: dog, hen'):
        read_class_folders(root, tmp_path / 'out')


@pytest.mark.parametrize('folders', [[], ['cat'], ['images']])
def test_nothing_to_read_is_none(tmp_path, folders):
    fill(tmp_path, *folders)
    assert read_class_folders(tmp_path, tmp_path / 'out') is None
