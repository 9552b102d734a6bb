"""What a wheel and an editable install carry, and what they ask for."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from luminet_mm.version import SUPPORTED, __version__, _is_older

ROOT = Path(__file__).parents[1]
BUILT = re.compile(
    r'(\.venv.*|\.git|\.mim|.*\.egg-info|.*_cache|__pycache__|'
    r'build|dist|data|work_dirs)$'
)
MIM = 'luminet_mm/.mim'


def copy_project(target):
    """Copy what a fresh clone holds: no test may build in the real tree."""

    def ignore(folder, names):
        top = Path(folder) == ROOT
        return [
            name
            for name in names
            if BUILT.match(name) and (top or name in ('.mim', '__pycache__'))
        ]

    shutil.copytree(ROOT, target, ignore=ignore)
    return target


def build(project, command, out):
    """Call the build backend as pip does, less the isolation."""
    out.mkdir()
    subprocess.run(
        [
            sys.executable,
            '-c',
            f'import setuptools.build_meta as b; b.{command}(r"{out}")',
        ],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    )
    return next(out.iterdir())


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp('clone') / 'luminet_mm')


@pytest.fixture(scope='module')
def wheel(project, tmp_path_factory):
    path = build(project, 'build_wheel', tmp_path_factory.mktemp('w') / 'out')
    with zipfile.ZipFile(path) as file:
        yield path.name, file


def expected_files(folder):
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def test_wheel_is_pure_python_and_of_this_version(wheel):
    name, _ = wheel
    assert name == f'luminet_mm-{__version__}-py3-none-any.whl'


def test_wheel_has_what_mim_looks_for(wheel):
    _, file = wheel
    names = set(file.namelist())
    for folder in ('configs', 'tools', 'weights'):
        wanted = {f'{MIM}/{name}' for name in expected_files(folder)}
        assert wanted and wanted <= names
        assert not {
            name
            for name in names - wanted
            if name.startswith(f'{MIM}/{folder}/')
        }
    assert f'{MIM}/model-index.yml' in names


def test_wheel_keeps_scripts_executable(wheel):
    _, file = wheel
    mode = file.getinfo(f'{MIM}/tools/dist_train.sh').external_attr >> 16
    assert mode & 0o100


def test_wheel_has_every_module_and_nothing_else(wheel):
    _, file = wheel
    modules = {
        name for name in expected_files('luminet_mm') if name.endswith('.py')
    }
    names = set(file.namelist())
    assert modules == {
        name
        for name in names
        if name.endswith('.py') and not name.startswith(MIM)
    }
    assert not [name for name in names if name.startswith('tests/')]


def test_wheel_has_every_file_that_a_module_reads(wheel):
    _, file = wheel
    wanted = {
        name
        for name in expected_files('luminet_mm')
        if not name.endswith('.py') and '/.' not in name
    }
    assert any(name.endswith('.html') for name in wanted)
    assert wanted <= set(file.namelist())


def test_wheel_declares_its_licence_as_spdx(wheel):
    _, file = wheel
    metadata = file.read(
        f'luminet_mm-{__version__}.dist-info/METADATA'
    ).decode()
    assert 'License-Expression: Apache-2.0' in metadata
    assert 'License-File: LICENSE' in metadata
    assert 'Requires-Python: >=3.10' in metadata


def test_installed_wheel_serves_its_tools_from_elsewhere(wheel, tmp_path):
    """Unpacked as pip would, in a folder without a clone."""
    _, file = wheel
    file.extractall(tmp_path / 'site')
    here = tmp_path / 'here'
    here.mkdir()
    script = """
import os, sys
from luminet_mm.__main__ import find_script, main, tools
from luminet_mm.files.shipped import COPIED, INSTALLED, shipped, working_folder
assert shipped() == INSTALLED and INSTALLED.is_relative_to(sys.argv[1])
for name in tools():
    assert find_script(name) == INSTALLED / 'tools' / f'{name}.py', name
print(working_folder(), sorted(os.listdir()) == sorted(COPIED))
"""
    result = subprocess.run(
        [sys.executable, '-c', script, str(tmp_path / 'site')],
        cwd=here,
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site')},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f'{here} True'
    copied = {
        path.relative_to(here).as_posix()
        for path in here.rglob('*')
        if path.is_file()
    }
    assert copied == {
        name
        for folder in ('configs', 'tools', 'weights')
        for name in expected_files(folder)
    }


def test_build_leaves_no_mim_in_the_source(wheel, project):
    assert not (project / MIM).exists()


def test_sdist_holds_all_that_a_wheel_needs(project, tmp_path):
    path = build(project, 'build_sdist', tmp_path / 'out')
    shutil.unpack_archive(path, tmp_path)
    unpacked = tmp_path / path.name.removesuffix('.tar.gz')
    for name in (
        *expected_files('configs'),
        *expected_files('tools'),
        *expected_files('weights'),
        'CITATION.cff',
        'LICENSE',
        'model-index.yml',
        'setup.py',
    ):
        assert (unpacked / name).is_file(), name
    assert not (unpacked / MIM).exists()
    assert not (unpacked / 'tests').exists()


def test_editable_install_links_configs(tmp_path):
    project = copy_project(tmp_path / 'luminet_mm')
    wheel = build(project, 'build_editable', tmp_path / 'out')
    assert wheel.suffix == '.whl'
    mim = project / MIM
    for name in ('configs', 'tools', 'weights', 'model-index.yml'):
        assert (mim / name).is_symlink()
        assert (mim / name).resolve() == project / name
    # Twice is as good as once, and a stale entry goes.
    (mim / 'stale').touch()
    build(project, 'build_editable', tmp_path / 'again')
    assert sorted(p.name for p in mim.iterdir()) == [
        'configs',
        'model-index.yml',
        'tools',
        'weights',
    ]


def test_requirements_lie_within_the_supported_versions():
    tomllib = pytest.importorskip('tomllib')  # Python 3.11
    from packaging.requirements import Requirement

    with open(ROOT / 'pyproject.toml', 'rb') as file:
        project = tomllib.load(file)['project']
    required = {
        Requirement(text).name: Requirement(text)
        for text in project['dependencies']
    }
    for row in SUPPORTED:
        specifier = required[row.package].specifier
        lower = [s.version for s in specifier if s.operator == '>=']
        assert not lower or not _is_older(lower[0], row.minimum), row.package
        if row.below:
            assert row.below not in specifier, row.package


def test_license_is_apache_2():
    text = (ROOT / 'LICENSE').read_text(encoding='utf-8')
    assert 'Apache License' in text and 'END OF TERMS' in text
    assert 'The luminet_mm authors' in text


def test_model_index_names_existing_configs():
    import yaml

    index = yaml.safe_load(
        (ROOT / 'model-index.yml').read_text(encoding='utf-8')
    )
    collections = {entry['Name'] for entry in index['Collections']}
    assert index['Models']
    for model in index['Models']:
        assert (ROOT / model['Config']).is_file(), model['Config']
        assert model['Name'] == Path(model['Config']).stem
        assert model['In Collection'] in collections


def test_config_names_are_unique():
    """MIM finds a config by its base name, those of _base_ apart."""
    names = [
        path.name
        for path in (ROOT / 'configs').rglob('*.py')
        if '_base_' not in path.parts
    ]
    assert names and len(names) == len(set(names))


def make_dry(tmp_path, *arguments):
    """Say what `make` would do in a fresh clone."""
    shutil.copy(ROOT / 'Makefile', tmp_path)
    for name in ('setup.py', 'pyproject.toml'):
        (tmp_path / name).touch()
    return subprocess.run(
        ['make', '-n', *arguments],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env=dict(PATH='/usr/bin:/bin'),
    ).stdout


needs_make = pytest.mark.skipif(
    shutil.which('make') is None, reason='needs make'
)


@needs_make
@pytest.mark.parametrize('target', ['quickstart', 'test'])
def test_make_creates_the_environment_first(tmp_path, target):
    plan = make_dry(tmp_path, target, 'VENV=other')
    steps = [
        plan.index('-m venv'),
        plan.index('other/bin/python tools/install.py'),
        plan.index('-e '),
        plan.index('touch other/.installed'),
    ]
    assert steps == sorted(steps)
    assert '.venv' not in plan


@needs_make
def test_make_keeps_bytecode_where_an_image_forbids_it():
    rule = 'say: ; @echo "[$$PYTHONDONTWRITEBYTECODE]"'
    said = subprocess.check_output(
        ['make', '-f', ROOT / 'Makefile', f'--eval={rule}', 'say'],
        text=True,
        env=dict(PATH='/usr/bin:/bin', PYTHONDONTWRITEBYTECODE='1'),
    )
    assert said == '[]\n'


@needs_make
def test_second_make_installs_nothing(tmp_path):
    make_dry(tmp_path, 'test')
    (tmp_path / '.venv/bin').mkdir(parents=True)
    (tmp_path / '.venv/bin/python').touch()
    (tmp_path / '.venv/.installed-dev').touch()
    plan = subprocess.run(
        ['make', '-n', 'test'],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert 'pip' not in plan and 'pytest' in plan


@needs_make
def test_make_refuses_an_old_python(tmp_path):
    old = tmp_path / 'old'
    old.write_text(
        '#!/bin/sh\nexec python3 -c "import sys, collections\n'
        'sys.version_info = (3, 9)\nexec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    make_dry(tmp_path, 'install')
    result = subprocess.run(
        ['make', 'install', f'PYTHON={old}'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode
    assert 'needs Python 3.10 or newer; this is 3.9' in result.stderr
