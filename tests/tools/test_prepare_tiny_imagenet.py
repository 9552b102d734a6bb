"""tools/prepare_tiny_imagenet.py on a split of three images."""

import pytest

LABELS = {'val_0.JPEG': 'n2', 'val_1.JPEG': 'n1', 'val_2.JPEG': 'n2'}


@pytest.fixture
def root(tmp_path):
    images = tmp_path / 'tiny' / 'val' / 'images'
    images.mkdir(parents=True)
    for name in LABELS:
        (images / name).write_text(name)
    (images.parent / 'val_annotations.txt').write_text(
        ''.join(f'{k}\t{v}\t0\t32\t44\t62\n' for k, v in LABELS.items())
    )
    return tmp_path / 'tiny'


def layout(root):
    return {
        path.relative_to(root / 'val').as_posix(): path.read_text()
        for path in (root / 'val').rglob('*.JPEG')
    }


SORTED = {f'{label}/{image}': image for image, label in LABELS.items()}


def fails(run_tool, root):
    with pytest.raises(SystemExit) as error:
        run_tool('prepare_tiny_imagenet', root)
    assert error.value.code not in (0, None)
    return str(error.value)


def test_sorts_and_says_so(run_tool, root, capsys):
    run_tool('prepare_tiny_imagenet', root)
    assert layout(root) == SORTED
    assert not (root / 'val' / 'images').exists()
    assert '3 images of 2 classes, 3 of them moved' in capsys.readouterr().out


def test_goes_on_where_it_was_interrupted(run_tool, root, capsys):
    (root / 'val' / 'n1').mkdir()
    (root / 'val/images/val_1.JPEG').rename(root / 'val/n1/val_1.JPEG')
    run_tool('prepare_tiny_imagenet', root)
    assert layout(root) == SORTED
    assert '2 of them moved' in capsys.readouterr().out
    run_tool('prepare_tiny_imagenet', root)
    assert layout(root) == SORTED
    assert ' 0 of them moved' in capsys.readouterr().out


def test_missing_folder_and_image(run_tool, root, tmp_path):
    text = fails(run_tool, tmp_path / 'other')
    assert 'other/val/val_annotations.txt' in text
    assert 'tiny-imagenet-200.zip' in text
    (root / 'val/images/val_1.JPEG').unlink()
    assert 'lacks 1 of 3 images, val_1.JPEG' in fails(run_tool, root)


def test_nothing_else_is_removed(run_tool, root):
    (root / 'val/images/mine.txt').write_text('notes')
    assert 'images/mine.txt' in fails(run_tool, root)
    assert (root / 'val/images/mine.txt').read_text() == 'notes'
    assert layout(root) == SORTED


def test_broken_annotations(run_tool, root):
    (root / 'val' / 'val_annotations.txt').write_text('val_0.JPEG n2\n')
    assert 'line 1' in fails(run_tool, root)
    assert set(layout(root)) == {f'images/{name}' for name in LABELS}


@pytest.mark.parametrize(
    'line', ['val_0.JPEG\t../..', '../../x.JPEG\tn2', 'val_0.JPEG\t/tmp']
)
def test_names_stay_in_their_folders(run_tool, root, line):
    (root / 'val' / 'val_annotations.txt').write_text(line + '\n')
    (root.parent / 'x.JPEG').write_text('elsewhere')
    assert 'is a path, not a name' in fails(run_tool, root)
    assert set(layout(root)) == {f'images/{name}' for name in LABELS}
    assert (root.parent / 'x.JPEG').exists()


def test_a_class_folder_that_leads_elsewhere(run_tool, root, tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    (root / 'val/n2').symlink_to(tmp_path / 'elsewhere')
    assert 'is a link from' in fails(run_tool, root)
    assert not list((tmp_path / 'elsewhere').iterdir())
