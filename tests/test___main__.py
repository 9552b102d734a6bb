"""``python -m luminet_mm SCRIPT``: a script of others, with this package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from luminet_mm.__main__ import USAGE, find_script, main

ROOT = Path(__file__).parents[1]

# How MMDetection's test.py and browse_dataset.py begin: mmcv.ops first.
SCRIPT = """
import sys
from mmdet.models.utils import mask2ndarray
from mmdet.registry import MODELS
import neighbour
print(__name__, sys.argv[1:], neighbour.NAME)
print(MODELS.get('luminet_mm.KDLoss').__name__, 'RoIAlign' in MODELS)
"""


def test_a_script_runs_as_it_is(tmp_path):
    folder = tmp_path / 'scripts'
    folder.mkdir()
    (folder / 'neighbour.py').write_text("NAME = 'beside it'")
    (folder / 'script.py').write_text(SCRIPT)
    result = subprocess.run(
        [sys.executable, '-m', 'luminet_mm', 'scripts/script.py', '--a', 'b'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "__main__ ['--a', 'b'] beside it" in result.stdout
    assert 'KDLoss' in result.stdout


@pytest.mark.parametrize(
    'name',
    ['mmdet::test.py', 'mmpretrain::train.py', 'mmdet::misc/print_config.py'],
)
def test_scripts_of_installed_packages(name):
    package, _, inner = name.partition('::')
    path = find_script(name)
    assert path.is_file() and path.match(f'tools/{inner}')
    assert package in str(path)


@pytest.mark.parametrize(
    'name, message',
    [
        ('tools/trian.py', 'no such file. Give the path of a script, or'),
        ('mmdett::test.py', 'mmdett is not installed.'),
        ('mmdet::nothing_like_it.py', 'mmdet has no such script.'),
        (
            'mmdet::browse_dataset.py',
            'did you mean mmdet::analysis_tools/browse_dataset.py?',
        ),
    ],
)
def test_a_script_that_is_not_there_is_one_message(name, message):
    with pytest.raises(SystemExit) as error:
        main([name])
    assert str(error.value).startswith(f'error: {name}: ')
    assert message in str(error.value)


@pytest.mark.parametrize('words, code', [([], 2), (['--help'], 0)])
def test_usage(words, code, capsys):
    with pytest.raises(SystemExit) as error:
        main(words)
    assert error.value.code == code
    assert capsys.readouterr().out.strip() == USAGE


def test_the_command_line_is_the_scripts(tmp_path, monkeypatch, capsys):
    script = tmp_path / 'script.py'
    script.write_text('import sys; print(__name__, sys.argv)')
    monkeypatch.setattr(sys, 'argv', ['before'])
    monkeypatch.setattr(sys, 'path', ['before', *sys.path])
    main([str(script), '--lr', '0.1'])
    assert capsys.readouterr().out == f"__main__ ['{script}', '--lr', '0.1']\n"
    assert sys.path[0] == str(tmp_path)
