"""What a file is that should be a checkpoint."""

import zipfile

import pytest
import torch

from luminet_mm.files.kinds import fix_for, foreign_kind, has_torch_form


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('keep', [1.0, 0.5])
def test_files_of_torch_are_not_foreign(tmp_path, zipped, keep):
    path = tmp_path / 'a.pth'
    torch.save(
        dict(w=torch.randn(2000)), path, _use_new_zipfile_serialization=zipped
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    assert foreign_kind(path) is None
    assert has_torch_form(path)


@pytest.mark.parametrize(
    'content, kind',
    [
        (b'', 'empty (0 bytes)'),
        (b'\x89PNG\r\n\x1a\n', 'a PNG image'),
        (b'\xff\xd8\xff\xe0', 'a JPEG image'),
        (b'%PDF-1.7', 'a PDF file'),
        (b'\x89HDF\r\n', 'an HDF5 file'),
        (b'version https://git-lfs.github.com/spec/v1', 'a Git LFS pointer'),
        (b'\xef\xbb\xbf <!doctype HTML>', 'an HTML page'),
        (b'Not Found\nsorry', "a text file that begins with 'Not Found'"),
        (b' \n', "a text file that begins with ''"),
        ('\u00e9'.encode() * 2048 + b'\xc3', 'a text file that begins with'),
        (b'\x00\x01\x02', None),
        (b'caf\xe9 ' * 10, None),  # not UTF-8: nobody knows
    ],
)
def test_what_it_is_for_certain(tmp_path, content, kind):
    path = tmp_path / 'a.pth'
    path.write_bytes(content)
    found = foreign_kind(path)
    assert found is None if kind is None else found.startswith(kind)
    assert not has_torch_form(path)


@pytest.mark.parametrize(
    'names, kind',
    [
        (['photo.jpg'], 'a ZIP archive without weights'),
        (['a/data.pkl'], None),
        (['a/data.pkl', 'a/constants.pkl'], 'a TorchScript archive'),
    ],
)
def test_archives(tmp_path, names, kind):
    path = tmp_path / 'a.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        for name in names:
            archive.writestr(name, b'x')
    assert foreign_kind(path) == kind


def test_each_kind_has_a_fix():
    assert 'git lfs pull' in fix_for('a Git LFS pointer')
    assert 'web page' in fix_for('an HTML page')
    assert 'torch.save' in fix_for('a PDF file')
