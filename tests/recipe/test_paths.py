"""Paths in written configs work from any folder."""

from pathlib import Path

from mmengine.config import Config

from luminet_mm.recipe import paths
from luminet_mm.recipe.dataset import Data, Split


def test_a_path_from_the_config_is_found(tmp_path, monkeypatch):
    folder = tmp_path / 'configs'
    folder.mkdir()
    for name in ('configs/a.pth', 'teacher/b.pth'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    a = paths.from_config(folder / 'a.pth', folder)
    b = paths.from_config(tmp_path / 'teacher/b.pth', folder)
    (folder / 'c.py').write_text(f'a, b = {a!r}, {b!r}\n')
    monkeypatch.chdir('/')
    cfg = Config.fromfile(folder / 'c.py')
    assert Path(cfg.a).is_file() and Path(cfg.b).is_file()


def test_annotations_in_the_data_folder_and_beside_the_config(tmp_path):
    inside = Split(tmp_path / 'set/ann/a.json', tmp_path / 'set/train', 1)
    made = Split(tmp_path / 'out/annotations/b.json', tmp_path / 'set', 1)
    data = Data('COCO', tmp_path / 'set', ('a',), inside, made)
    folder = tmp_path / 'out/configs'
    assert paths.ann_file(data, inside, folder, False) == 'ann/a.json'
    whole = paths.ann_file(data, inside, folder, True)
    assert whole == "data_root + 'ann/a.json'"
    path = '{{ fileDirname }}/../annotations/b.json'
    assert paths.ann_file(data, made, folder, True) == path
    assert paths.photos(data, inside) == 'train/'
    assert paths.photos(data, made) == ''
    folders = Split(None, tmp_path / 'set', 1)
    assert paths.ann_file(data, folders, folder, False) == ''


def test_shipped_weights_are_copied_once(tmp_path, monkeypatch):
    source, folder = tmp_path / 'weights', tmp_path / 'configs'
    source.mkdir()
    (source / 'a.pth').write_text('1')
    monkeypatch.setattr(paths, '_WEIGHTS', (source, tmp_path / 'none'))
    assert paths.copy_weights('a.pth', folder) == '{{ fileDirname }}/a.pth'
    (source / 'a.pth').write_text('2')
    paths.copy_weights('a.pth', folder)
    assert (folder / 'a.pth').read_text() == '1'
    assert [each.name for each in folder.iterdir()] == ['a.pth']
    assert paths.copy_weights('b.pth', folder) is None
