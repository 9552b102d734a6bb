"""tools/prepare_coco.py on folders of four images."""

import json
import shutil
import zipfile

import pytest
from mmdet.datasets import CocoDataset

COCO_CLASSES = CocoDataset.METAINFO['classes']


@pytest.fixture
def whole(coco, monkeypatch):
    """The COCO folder, with COCO's categories."""
    for path in (coco / 'annotations').iterdir():
        content = json.loads(path.read_text())
        content['categories'] = [
            dict(id=i, name=name) for i, name in enumerate(COCO_CLASSES)
        ]
        path.write_text(json.dumps(content))
    return coco


def pack(folder, archive):
    with zipfile.ZipFile(archive, 'w') as file:
        for path in folder.rglob('*'):
            file.write(path, path.relative_to(folder.parent))


@pytest.fixture
def archives(whole, tmp_path):
    """A folder with COCO's three archives."""
    folder = tmp_path / 'archives'
    folder.mkdir()
    pack(whole / 'train2017', folder / 'train2017.zip')
    pack(whole / 'val2017', folder / 'val2017.zip')
    pack(whole / 'annotations', folder / 'annotations_trainval2017.zip')
    return folder


def fails(run_tool, *arguments):
    with pytest.raises(SystemExit) as error:
        run_tool('prepare_coco', *arguments)
    assert error.value.code != 0
    return str(error.value)


def test_complete(run_tool, whole, capsys):
    run_tool('prepare_coco', whole, '--subset')
    assert f'{whole} is complete' in capsys.readouterr().out


def test_counts_of_the_whole_of_coco(run_tool, whole):
    text = fails(run_tool, whole)
    assert 'train2017 holds 4 images of 118,287' in text
    assert 'val2017 holds 4 images of 5,000' in text
    assert 'instances_val2017.json lists 4 images, COCO has 5,000' in text


def test_empty_folder_says_where_to_get_everything(run_tool, tmp_path):
    text = fails(run_tool, tmp_path / 'new')
    for url in (
        'zips/train2017.zip',
        'zips/val2017.zip',
        'annotations/annotations_trainval2017.zip',
    ):
        assert f'http://images.cocodataset.org/{url}' in text


def test_archives_are_unpacked(run_tool, archives, whole):
    run_tool('prepare_coco', archives, '--subset')
    for name in ('train2017', 'val2017', 'annotations'):
        assert sorted(p.name for p in (archives / name).iterdir()) == sorted(
            p.name for p in (whole / name).iterdir()
        )
    # Nothing temporary stays.
    assert len(list(archives.iterdir())) == 6


@pytest.mark.parametrize('kind', ['folders', 'archives'])
def test_from_another_folder(run_tool, archives, whole, tmp_path, kind):
    source = whole if kind == 'folders' else archives
    root = tmp_path / 'data/coco'
    for _ in range(2):  # the second time everything is there
        run_tool('prepare_coco', root, '--from', source, '--subset')
    assert (root / 'train2017').is_symlink() == (kind == 'folders')
    assert not list(source.glob('tmp*'))


def test_a_dangling_link_is_replaced(run_tool, whole, tmp_path):
    root = tmp_path / 'data/coco'
    root.mkdir(parents=True)
    (root / 'val2017').symlink_to(tmp_path / 'gone')
    run_tool('prepare_coco', root, '--from', whole, '--subset')
    assert (root / 'val2017').resolve() == whole / 'val2017'


def test_from_a_missing_folder(run_tool, tmp_path):
    text = fails(run_tool, tmp_path / 'coco', '--from', tmp_path / 'gone')
    assert 'gone: no such folder' in text


def test_archive_cut_short(run_tool, archives):
    path = archives / 'val2017.zip'
    path.write_bytes(path.read_bytes()[:-40])
    assert 'cut short' in fails(run_tool, archives)
    assert not (archives / 'val2017').exists()


def test_archive_of_something_else(run_tool, archives, whole):
    pack(whole / 'train2017', archives / 'val2017.zip')
    assert 'holds no folder val2017' in fails(run_tool, archives)


def test_missing_categories_are_named(run_tool, coco):
    text = fails(run_tool, coco, '--subset')
    assert 'lacks 76 of COCO' in text or 'lacks 77 of COCO' in text
    assert 'person' in text


def test_missing_annotation_file(run_tool, whole):
    (whole / 'annotations/instances_val2017.json').unlink()
    text = fails(run_tool, whole, '--subset')
    assert text.count('\n') == 0
    assert 'instances_val2017.json is missing' in text


def test_listed_image_that_is_not_there(run_tool, whole):
    (whole / 'train2017/000000000003.jpg').unlink()
    text = fails(run_tool, whole, '--subset')
    assert 'lists 000000000003.jpg, which is not in' in text


def test_truncated_annotations(run_tool, whole):
    path = whole / 'annotations/instances_train2017.json'
    path.write_text(path.read_text()[:-30])
    assert 'instances_train2017.json is not JSON' in fails(
        run_tool, whole, '--subset'
    )


def test_missing_image_folder(run_tool, whole):
    shutil.rmtree(whole / 'val2017')
    text = fails(run_tool, whole, '--subset')
    assert f'{whole / "val2017"} is missing' in text


@pytest.mark.parametrize(
    'images', [[5], [{}], [dict(file_name=5)], {'a': 1}, ['x']]
)
def test_annotations_of_another_form(run_tool, whole, images):
    path = whole / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    content['images'] = images
    path.write_text(json.dumps(content))
    text = fails(run_tool, whole, '--subset')
    assert 'instances_train2017.json' in text


@pytest.mark.parametrize('name', ['../../evil', '/evil', '..\\evil'])
def test_archives_cannot_write_elsewhere(run_tool, archives, tmp_path, name):
    """Names that leave the folder are unpacked within it."""
    target = tmp_path / 'new/coco'
    target.mkdir(parents=True)
    with zipfile.ZipFile(target / 'train2017.zip', 'w') as file:
        file.writestr(name, 'x')
        file.writestr('train2017/a.jpg', 'x')
        link = zipfile.ZipInfo('train2017/link')
        link.external_attr = 0o120777 << 16
        file.writestr(link, str(tmp_path))
    fails(run_tool, target, '--subset')
    assert (target / 'train2017/a.jpg').is_file()
    assert not (target / 'train2017/link').is_symlink()
    assert not list(tmp_path.glob('**/evil'))
