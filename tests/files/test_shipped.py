"""Configs, tools and weights, in a clone and in an installed package."""

import os
from pathlib import Path

import pytest

from luminet_mm.files import shipped as module
from luminet_mm.files.config_file import ConfigFileError, read_config
from luminet_mm.files.shipped import (
    copy_hint,
    copy_shipped,
    shipped,
    working_folder,
)
from luminet_mm.preflight.faults import file_problem

ROOT = Path(__file__).parents[2]
FILES = ('configs/deep/er/one.py', 'tools/run.sh', 'weights/small.pth')


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package without a clone around it; returns the current folder."""
    package = tmp_path / 'site-packages' / 'luminet_mm'
    for name in (*FILES, 'configs/__pycache__/one.pyc', 'model-index.yml'):
        path = package / '.mim' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (package / '.mim' / 'tools' / 'run.sh').chmod(0o755)
    monkeypatch.setattr(module, '_PACKAGE', package)
    monkeypatch.setattr(module, 'INSTALLED', package / '.mim')
    here = tmp_path / 'here'
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def _files(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_file()
    )


def test_a_clone_has_them_itself():
    assert shipped() == ROOT == working_folder()


def test_an_installed_package_has_them_too(installed):
    assert shipped() == module.INSTALLED
    assert copy_shipped(installed / 'a' / 'b') == 3
    assert _files(installed) == sorted(f'a/b/{name}' for name in FILES)
    assert (installed / 'a/b/configs/deep/er/one.py').read_text() == FILES[0]
    assert os.access(installed / 'a/b/tools/run.sh', os.X_OK)


def test_what_is_there_already_is_not_copied(installed):
    copy_shipped(installed)
    stamp = (installed / FILES[0]).stat().st_mtime_ns
    (installed / FILES[1]).unlink()
    assert copy_shipped(installed) == 1
    assert (installed / FILES[0]).stat().st_mtime_ns == stamp


def test_a_file_of_ones_own_is_not_replaced(installed):
    (installed / 'weights').mkdir()
    (installed / 'weights/small.pth').write_text('mine')
    with pytest.raises(FileExistsError, match='small.pth exists and differs'):
        copy_shipped(installed)
    assert _files(installed) == ['weights/small.pth']
    assert (installed / 'weights/small.pth').read_text() == 'mine'


def test_a_copy_that_was_interrupted_is_completed(installed, monkeypatch):
    def half(source, target):
        Path(target).write_text('wei')
        raise OSError('disk full')

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, 'copy2', half)
        with pytest.raises(OSError, match='disk full'):
            copy_shipped(installed)
    assert copy_shipped(installed) == 3
    assert _files(installed) == sorted(FILES)


def test_a_quickstart_writes_nothing_into_the_package(installed, capsys):
    before = _files(module.INSTALLED)
    assert working_folder() == installed
    assert 'configs, tools, weights were copied to' in capsys.readouterr().out
    assert _files(installed) == sorted(FILES)
    working_folder()
    assert capsys.readouterr().out == ''
    assert _files(module.INSTALLED) == before


def test_a_missing_file_that_was_installed_has_a_hint(installed):
    hint = ' It comes with the package: `python -m luminet_mm copy` copies'
    with pytest.raises(ConfigFileError, match=f'does not exist.{hint}'):
        read_config(FILES[0])
    (line,) = file_problem('load_from', 'weights/small.pth', 'give a path')
    assert line.startswith(
        f'load_from: no file weights/small.pth; give a path.{hint}'
    )


@pytest.mark.parametrize(
    'path', ['configs/other.py', 'model-index.yml', 'one.py', '']
)
def test_others_have_none(installed, path):
    assert copy_hint(path) == ''
    assert copy_hint(installed / path) == ''
