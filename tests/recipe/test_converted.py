"""YOLO's and VOC's layouts end as the same COCO files."""

import pytest
from shapes import boxes_of, scenes, write_voc, write_yolo

from luminet_mm.recipe import converted
from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.voc import read_voc
from luminet_mm.recipe.yolo import read_yolo

READ = dict(yolo=(write_yolo, read_yolo), voc=(write_voc, read_voc))


@pytest.fixture
def supervision():
    return pytest.importorskip(
        'supervision', reason="pip install 'luminet_mm[data]'"
    )


@pytest.mark.parametrize('layout', READ)
def test_boxes_are_those_that_were_written(supervision, tmp_path, layout):
    write, read = READ[layout]
    val = 'valid' if layout == 'yolo' else 'val'
    root = write(tmp_path / 'set', {'train': 3, val: 2})
    data = read(root, tmp_path / 'out')
    assert data.classes == ('disc', 'square')
    assert (data.train.images, data.val.images) == (3, 2)
    for name, found in boxes_of(data.train).items():
        assert (data.train.photos / name).is_file()
        number = int(name[-6:-4])
        (_, expected) = list(scenes(3))[number]
        if layout == 'voc':
            (_, expected) = list(scenes(5))[number]
        for box, wanted in zip(found, expected):
            assert box == pytest.approx(wanted, abs=0.01)
    assert 'converted to COCO by supervision' in data.notes[0]


@pytest.mark.parametrize('layout', READ)
def test_without_validation_some_are_set_aside(supervision, tmp_path, layout):
    write, read = READ[layout]
    root = write(tmp_path / 'set', {'train': 10})
    data = read(root, tmp_path / 'out')
    assert (data.train.images, data.val.images) == (8, 2)
    assert not boxes_of(data.train).keys() & boxes_of(data.val).keys()


@pytest.mark.parametrize('layout', READ)
def test_without_the_package_its_command_is_named(
    tmp_path, monkeypatch, layout
):
    write, read = READ[layout]
    root = write(tmp_path / 'set', {'train': 2})
    monkeypatch.setattr(converted, 'find_spec', lambda name: None)
    with pytest.raises(DataError, match='pip install supervision'):
        read(root, tmp_path / 'out')
