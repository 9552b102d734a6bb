"""``python -m luminet_mm SCRIPT``: a script of others, with this package."""

import sys
from pathlib import Path

import fresh
import pytest

from luminet_mm.__main__ import find_script, main, tools

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
    words = ['-m', 'luminet_mm', 'scripts/script.py', '--a', 'b']
    result = fresh.run(words, tmp_path)
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
        ('tools/trian.py', 'no such file. Give the path of a script, a tool'),
        ('trian', 'no such file; did you mean the tool train? Give'),
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
    text = capsys.readouterr().out
    assert text.startswith('usage: python -m luminet_mm TOOL')
    assert set(tools()) <= set(text.split())
    assert all(len(line) < 80 for line in text.splitlines())


def test_tools_go_by_their_names(tmp_path, monkeypatch):
    assert {'train', 'test', 'distill', 'sweep', 'report'} <= set(tools())
    assert 'install' not in tools()
    monkeypatch.chdir(tmp_path)
    for name in tools():
        assert find_script(name) == ROOT / 'tools' / f'{name}.py'
    assert find_script('train.py') == ROOT / 'tools' / 'train.py'
    (tmp_path / 'train.py').touch()  # a file of one's own comes first
    assert find_script('train.py') == Path('train.py')


def test_a_tool_says_what_it_needs(tmp_path):
    result = fresh.run(['-m', 'luminet_mm', 'train'], tmp_path)
    assert result.returncode == 2
    assert 'usage: train.py' in result.stderr


def test_copy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in (['copy', 'there'], ['copy', 'there'], ['copy']):
        with pytest.raises(SystemExit) as error:
            main(words)
        assert error.value.code is None
    first, second, third = capsys.readouterr().out.splitlines()
    count = first.split()[3]
    assert first == (
        f'configs, tools, weights: {count} files copied to '
        f'{tmp_path / "there"}'
    )
    assert int(count) > 400
    assert ': 0 files' in second
    assert third.endswith(str(tmp_path)) and f': {count} files' in third


@pytest.mark.parametrize(
    'words, message',
    [
        (['a', 'b'], 'error: copy a b: give one folder, or none.'),
        (['--force'], 'error: copy --force: give one folder, or none.'),
        (['file'], 'error: '),
    ],
)
def test_a_copy_that_cannot_be(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('file').touch()
    with pytest.raises(SystemExit) as error:
        main(['copy', *words])
    assert str(error.value).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_the_command_line_is_the_scripts(tmp_path, monkeypatch, capsys):
    script = tmp_path / 'script.py'
    script.write_text('import sys; print(__name__, sys.argv)')
    monkeypatch.setattr(sys, 'argv', ['before'])
    monkeypatch.setattr(sys, 'path', ['before', *sys.path])
    main([str(script), '--lr', '0.1'])
    assert capsys.readouterr().out == f"__main__ ['{script}', '--lr', '0.1']\n"
    assert sys.path[0] == str(tmp_path)
