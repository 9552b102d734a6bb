"""One function for all layouts."""

import pytest
from shapes import scenes, write_coco, write_photos

from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.reading import read_data


def test_the_layout_is_found(tmp_path):
    root = write_coco(tmp_path / 'coco', {'train': 3, 'val': 2})
    assert read_data(root, tmp_path / 'out').layout == 'COCO'
    for name in ('train/cat', 'train/dog', 'val/cat', 'val/dog'):
        write_photos(tmp_path / 'cls' / name, [next(scenes(1))[0]])
    data = read_data(tmp_path / 'cls', tmp_path / 'out')
    assert data.layout == 'class folders'


def test_what_would_do_is_listed(tmp_path):
    with pytest.raises(DataError, match='in none of the layouts') as caught:
        read_data(tmp_path, tmp_path / 'out')
    for layout in ('COCO', 'YOLO', 'VOC', 'class folders'):
        assert layout in str(caught.value)
    with pytest.raises(DataError, match='is not a folder'):
        read_data(tmp_path / 'none', tmp_path / 'out')
