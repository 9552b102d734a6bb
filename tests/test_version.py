"""The table of versions, on made-up environments."""

import re
import runpy
import sys
import warnings
from pathlib import Path

import pytest

from luminet_mm import version
from luminet_mm.version import (
    SUPPORTED,
    check_versions,
    find_problems,
    find_untested,
    installed_versions,
)

GOOD = {
    'python': '3.11.4',
    'torch': '2.12.0+cpu',
    'torchvision': '0.27.0',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.5.1',
    'onedl-mmpretrain': '1.3.6',
    'numpy': '2.2.6',
}
ROOT = Path(version.__file__).parents[1]


def _without(*names, **changes):
    changed = {k.replace('_', '-'): v for k, v in changes.items()}
    return {k: v for k, v in {**GOOD, **changed}.items() if k not in names}


def _only(problems):
    assert len(problems) == 1, problems
    return problems[0]


def test_good_environments():
    assert find_problems(GOOD) == []
    assert find_untested(GOOD) == []


def test_this_environment():
    installed = installed_versions()
    assert installed['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert {row.package for row in SUPPORTED} <= set(installed)
    check_versions()


@pytest.mark.parametrize('row', SUPPORTED, ids=lambda row: row.package)
def test_bounds_of_each_row(row):
    def problems(found):
        return find_problems({**GOOD, row.package: found})

    assert problems(row.minimum) == []
    assert problems(f'{row.minimum}.post1') == []
    for found in ('0.0.9', row.below or '0.1'):
        problem = _only(problems(found))
        assert problem.startswith(f'{row.package} {found} is installed')
        assert row.why in problem
        assert problem.endswith(f"pip install '{row.requirement}'")


def test_0_10_11_is_older_than_0_10_12():
    problem = _only(find_problems(_without(onedl_mmengine='0.10.11')))
    assert 'onedl-mmengine>=0.10.12,<1.0' in problem
    assert '0.10.11 is broken' in problem


@pytest.mark.parametrize(
    'found, fits',
    [
        ('2.6', True),
        ('2.6.0', True),
        ('2.6.0+cu124', True),
        ('2.10.0', True),
        ('2.16.0.dev20260101', True),
        ('3.0', True),
        ('2.5.1+cu121', False),
        ('2', False),
        ('unknown', False),
    ],
)
def test_versions_compare_by_number(found, fits):
    assert (find_problems(_without(torch=found)) == []) == fits


def test_missing_package():
    problem = _only(find_problems(_without('onedl-mmpretrain')))
    assert problem == (
        'onedl-mmpretrain is not installed, onedl-mmpretrain>=1.3.0 is '
        "needed. Mend it with: pip install 'onedl-mmpretrain>=1.3.0'"
    )


@pytest.mark.parametrize(
    'upstream, found, fork',
    [
        ('mmengine', '0.10.7', 'onedl-mmengine'),
        ('mmcv', '2.2.0', 'onedl-mmcv'),
        ('mmcv-lite', '2.2.0', 'onedl-mmcv'),
        ('mmdet', '3.3.0', 'onedl-mmdetection'),
        ('mmpretrain', '1.2.0', 'onedl-mmpretrain'),
    ],
)
def test_upstream_instead_of_the_fork(upstream, found, fork):
    problem = _only(find_problems(_without(fork, **{upstream: found})))
    assert problem.startswith(f'{upstream} {found} is installed, {fork}>=')
    assert "does not run on today's torch" in problem
    assert f"pip uninstall -y {upstream} && pip install '{fork}" in problem


def test_upstream_beside_the_fork():
    """Even the right version is no help: its files have been replaced."""
    problem = _only(find_problems(_without(mmcv='2.2.0', mmcv_full='1.7.2')))
    assert problem.startswith(
        'onedl-mmcv 2.3.6 and mmcv 2.2.0 and mmcv-full '
        '1.7.2 are installed together'
    )
    assert "overwritten each other's files" in problem
    assert problem.endswith(
        'pip uninstall -y onedl-mmcv mmcv mmcv-full && '
        "pip install 'onedl-mmcv>=2.3.0,<2.4'"
    )


def test_compiled_build_of_a_fork_under_another_name():
    compiled = {'onedl-mmcv-cu128-torch2-8': '2.3.1'}
    assert find_problems({**_without('onedl-mmcv'), **compiled}) == []
    problem = _only(find_problems({**GOOD, **compiled}))
    assert 'installed together' in problem
    problem = _only(
        find_problems(
            {**_without('onedl-mmcv'), 'onedl-mmcv-cu140-torch2-16': '2.4.0'}
        )
    )
    assert problem.startswith('onedl-mmcv-cu140-torch2-16 2.4.0 is installed')


def test_packages_whose_names_begin_alike():
    others = {
        'torch-geometric': '2.6',
        'torchvision-extra': '1',
        'torch-c': '1',
    }
    assert find_problems({**GOOD, **others}) == []


def test_old_python():
    problem = _only(find_problems(_without(python='3.9.18')))
    assert 'python 3.9.18' in problem and 'python>=3.10' in problem


def test_newer_than_tried_is_a_warning_only():
    newer = _without(
        python='3.16.1', torch='2.99.0+cu140', onedl_mmengine='0.10.99'
    )  # of a series that was tried
    assert find_problems(newer) == []
    assert find_untested(newer) == [
        'python 3.16.1 (newest tried: 3.13)',
        'torch 2.99.0+cu140 (newest tried: 2.15)',
    ]


def test_check_lists_every_problem_in_one_error(monkeypatch):
    monkeypatch.setattr(
        version,
        'installed_versions',
        lambda: _without(
            'torchvision', torch='2.1', onedl_mmengine='0.10.7', mmdet='3.3.0'
        ),
    )
    with pytest.raises(ImportError) as error:
        check_versions()
    lines = str(error.value).splitlines()
    assert lines[0] == (
        f'luminet_mm {version.__version__} cannot work with what is installed:'
    )
    assert [line.split()[1] for line in lines[1:]] == [
        'torch',
        'torchvision',
        'onedl-mmengine',
        'onedl-mmdetection',
    ]
    assert all('pip install' in line for line in lines[1:])


def test_check_warns_once(monkeypatch):
    monkeypatch.setattr(
        version,
        'installed_versions',
        lambda: _without(torch='9.1', torchvision='9.2'),
    )
    with pytest.warns(UserWarning, match='torch 9.1 .*torchvision 9.2 ') as w:
        check_versions()
    assert len(w) == 1


def test_check_is_silent_when_all_is_well(monkeypatch):
    monkeypatch.setattr(version, 'installed_versions', lambda: dict(GOOD))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_versions()


def test_names_are_normalised(monkeypatch):
    """Old wheels write underscores; left-overs of pip have no name."""

    class Distribution:
        def __init__(self, name, found):
            self.metadata, self.version = {'Name': name}, found

    monkeypatch.setattr(
        version.metadata,
        'distributions',
        lambda: [
            Distribution('OneDL_MMCV', '2.3.6'),
            Distribution(None, '0'),
            Distribution('onedl-mmcv', '1.0'),  # later on the path: shadowed
        ],
    )
    installed = installed_versions()
    del installed['python']
    assert installed == {'onedl-mmcv': '2.3.6'}


def test_package_metadata_agrees():
    """What pip may choose for the project must pass its own check."""
    text = (ROOT / 'pyproject.toml').read_text()
    for row in SUPPORTED:
        declared = re.search(rf'"{row.package}((?:>=|")[^"]*)', text)
        assert declared, f'{row.package} is no requirement'
        lower = re.search(r'>=([\d.]+)', declared[1])
        if lower:
            assert find_problems({**GOOD, row.package: lower[1]}) == []
        upper = re.search(r'<([\d.]+)', declared[1])
        assert bool(upper) == bool(row.below)


def test_version_needs_no_import():
    """Packaging and reports read this file where nothing is installed."""
    text = Path(version.__file__).read_text()
    assert f"\n__version__ = '{version.__version__}'\n" in text
    names = runpy.run_path(version.__file__)
    assert names['__version__'] == version.__version__
