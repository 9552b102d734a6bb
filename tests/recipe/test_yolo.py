"""YOLO's layout, with what people and exports do to it."""

import pytest
from shapes import boxes_of, write_yolo

from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.yolo import read_yolo


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip('supervision', reason="pip install 'luminet_mm[data]'")


def test_a_list_of_photos_and_a_photo_without_labels(tmp_path):
    root = write_yolo(tmp_path / 'set', {'train': 4, 'valid': 2})
    (root / 'train/labels/00.txt').unlink()
    (root / 'train.txt').write_text(
        './train/images/00.png\n./train/images/02.png\n'
    )
    text = (root / 'data.yaml').read_text()
    text = text.replace('train: ../train/images', 'train: train.txt')
    (root / 'data.yaml').write_text(text)
    data = read_yolo(root, tmp_path / 'out')
    found = boxes_of(data.train)
    assert [len(each) for each in found.values()] == [0, 2]


def test_images_in_both_splits_are_counted(tmp_path):
    """As in COCO128, where `val` is `train`."""
    root = write_yolo(tmp_path / 'set', {'train': 3})
    with (root / 'data.yaml').open('a') as file:
        file.write('\nval: train/images\n')
    data = read_yolo(root, tmp_path / 'out')
    assert data.val.images == 3
    assert data.notes[-1].startswith('3 images are in both splits')


def test_names_may_be_a_mapping(tmp_path):
    root = write_yolo(tmp_path / 'set', {'train': 3, 'valid': 2})
    text = (root / 'data.yaml').read_text()
    (root / 'data.yaml').write_text(
        text.replace("['disc', 'square']", '{0: disc, 1: square}')
    )
    assert read_yolo(root, tmp_path / 'out').classes == ('disc', 'square')


LABEL, YAML = 'train/labels/01.txt', 'data.yaml'


@pytest.mark.parametrize(
    ('file', 'text', 'message'),
    [
        (LABEL, '0 .1 .1', '01.txt'),
        (LABEL, '7 .5 .5 .1 .1', 'class_id 7'),
        ('b.yaml', 'names: [a]\ntrain: .', 'Keep one'),
        (YAML, 'names: a\ntrain: train', 'names is not a list'),
        (YAML, 'names: [a]\ntrain: gone', 'neither a folder nor'),
        (YAML, 'names: [a]\ntrain: val', 'has no photos'),
        (YAML, 'a: b: c', 'not a YAML file'),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, file, text, message):
    root = write_yolo(tmp_path / 'set', {'train': 3, 'valid': 2})
    (root / 'val').mkdir()
    (root / file).write_text(text)
    with pytest.raises(DataError, match=message):
        read_yolo(root, tmp_path / 'out')


def test_nothing_to_read_is_none(tmp_path):
    assert read_yolo(tmp_path, tmp_path / 'out') is None
