"""VOC's layout, and Roboflow's form of it."""

import pytest
from shapes import scenes, write_photos, write_voc

from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.voc import read_voc


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip('supervision', reason="pip install 'luminet_mm[data]'")


def test_photos_and_xml_in_one_folder(tmp_path):
    """Roboflow's form of VOC."""
    source = write_voc(tmp_path / 'voc', {'train': 4})
    for split in ('train', 'valid'):
        folder = tmp_path / 'set' / split
        write_photos(folder, [picture for picture, _ in scenes(4)])
        for path in (source / 'Annotations').iterdir():
            (folder / path.name).write_text(path.read_text())
    data = read_voc(tmp_path / 'set', tmp_path / 'out')
    assert (data.train.images, data.val.images) == (4, 4)


def test_a_listed_photo_that_is_missing(tmp_path):
    root = write_voc(tmp_path / 'set', {'train': 3, 'val': 2})
    (root / 'ImageSets/Main/val.txt').write_text('03\nnobody\n')
    with pytest.raises(DataError, match='val.txt: no photo in .* for nobody'):
        read_voc(root, tmp_path / 'out')


def test_nothing_to_read_is_none(tmp_path):
    assert read_voc(tmp_path, tmp_path / 'out') is None
