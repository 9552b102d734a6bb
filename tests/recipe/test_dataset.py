"""Names of files and folders say what they are for."""

from pathlib import Path

import pytest

from luminet_mm.recipe.dataset import is_photo, role_of, subfolders


@pytest.mark.parametrize(
    ('name', 'role'),
    [
        ('instances_train2017.json', 'train'),
        ('Training', 'train'),
        ('valid', 'val'),
        ('cells-val.json', 'val'),
        ('test2017', 'test'),
        ('strain.json', None),
        ('value.json', None),
        ('train_val.json', None),
        ('annotations.json', None),
    ],
)
def test_a_role_is_a_word_of_the_name(name, role):
    assert role_of(name) == role


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in ('b', 'a', '.git', '__MACOSX'):
        (tmp_path / name).mkdir()
    assert [each.name for each in subfolders(tmp_path)] == ['a', 'b']
    assert is_photo(Path('x/A.JPG')) and not is_photo(Path('x/._A.jpg'))
    assert not is_photo(Path('x/a.txt'))
