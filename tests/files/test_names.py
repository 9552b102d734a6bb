"""Names that data files give stay in their folder."""

import pytest

from luminet_mm.files.errors import DataFileError
from luminet_mm.files.names import inside, plain_name


@pytest.mark.parametrize('name', ['a.jpg', 'a/b.jpg', '.hidden', 'a b', 'ä'])
def test_names_below_the_folder(tmp_path, name):
    assert inside(tmp_path, name, 'x') == tmp_path / name


@pytest.mark.parametrize(
    'name',
    ['../a', 'a/../../b', '/a', '', '.', 'a//b', 'a\\..\\b', 'a\0', 5, None],
)
def test_names_that_lead_elsewhere(tmp_path, name):
    with pytest.raises(DataFileError, match='list.txt'):
        inside(tmp_path, name, 'list.txt')


def test_links(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'folder').symlink_to(tmp_path / 'real')
    (tmp_path / 'real/in').symlink_to(tmp_path / 'real/other')
    (tmp_path / 'real/out').symlink_to(tmp_path)
    assert inside(tmp_path / 'folder', 'in', 'x')
    for name in ('out', 'out/real/in/../..', 'out/a'):
        with pytest.raises(DataFileError):
            inside(tmp_path / 'folder', name, 'x')


@pytest.mark.parametrize('name', ['a/b', '..', '.', '', 'a\\b', 'a\0'])
def test_a_name_without_a_path(name):
    assert plain_name('a.b', 'x') == 'a.b'
    with pytest.raises(DataFileError, match='a path, not a name'):
        plain_name(name, 'x')
