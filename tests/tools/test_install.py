"""uv where it can be had, else pip; both with pip's settings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTING = """\
global.cert='/a b/ca.crt'
global.constraint='c.txt'
global.extra-index-url='https://a/simple https://b/simple'
install.constraint='d.txt'
freeze.constraint='e.txt'
:env:.find-links='wheels more'
:env:.default-timeout='180'
"""


@pytest.fixture
def ran(monkeypatch):
    """Commands that were run, which end with the codes given by a word."""

    class Ran(list):
        codes = {}

        def __call__(self, command, env=None, **kwargs):
            self.append((command, env))
            code = max(
                (c for word, c in self.codes.items() if word in command),
                default=0,
            )
            return subprocess.CompletedProcess(command, code, LISTING)

    ran = Ran()
    monkeypatch.setattr(subprocess, 'run', ran)
    return ran


def programs(ran):
    return [command[2] for command, _ in ran]


def test_uv_gets_pips_settings(load_tool, ran, monkeypatch):
    monkeypatch.setenv('UV_CONSTRAINT', 'mine.txt')
    for name in ('UV_DEFAULT_INDEX', 'SSL_CERT_FILE', 'UV_FIND_LINKS'):
        monkeypatch.delenv(name, raising=False)
    assert load_tool('install').main(['-e', '.[dev]']) == 0
    assert programs(ran) == ['pip', 'pip', 'uv']
    command, env = ran[-1]
    assert command[-2:] == ['-e', '.[dev]']
    assert f'--python={sys.executable}' in command
    assert '--compile-bytecode' in command  # pip does so by itself
    assert env['SSL_CERT_FILE'] == '/a b/ca.crt'
    assert env['UV_EXTRA_INDEX_URL'] == 'https://a/simple https://b/simple'
    assert env['UV_FIND_LINKS'] == 'wheels,more'
    assert env['UV_CONSTRAINT'] == 'mine.txt'
    assert env['UV_INDEX_STRATEGY'] == 'unsafe-best-match'
    assert 'UV_DEFAULT_INDEX' not in env


def test_a_nearer_setting_wins(load_tool):
    settings = load_tool('install').pip_settings(LISTING)
    assert settings['constraint'] == 'd.txt'
    assert settings['default-timeout'] == '180'
    assert load_tool('install').pip_settings('') == {}


@pytest.mark.parametrize(
    ('fails', 'expected'),
    [
        ({'--only-binary=uv': 1}, ['pip', 'pip', 'pip']),
        ({'uv': 1}, ['pip', 'pip', 'pip']),
        ({f'--python={sys.executable}': 2}, 'pip pip uv pip pip'.split()),
    ],
)
def test_pip_is_there_when_uv_is_not(load_tool, ran, capsys, fails, expected):
    ran.codes = fails
    assert load_tool('install').main(['-e', '.']) == 0
    assert programs(ran) == expected
    assert 'pip tries' in capsys.readouterr().err
    upgrade, install = (command for command, _ in ran[-2:])
    assert upgrade[-2:] == ['--upgrade', 'pip>=24']
    assert install[-2:] == ['-e', '.']
    assert '--only-binary=:all:' in install


def test_packages_outside_stay_as_they_are(
    load_tool, ran, monkeypatch, tmp_path
):
    """An image's own torch, in an environment that sees it."""
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    tool = load_tool('install')
    assert not tool.sees_others()
    settings = tmp_path / 'pyvenv.cfg'
    settings.write_text('home = /usr\ninclude-system-site-packages = false\n')
    assert not tool.sees_others()
    settings.write_text('home = /usr\ninclude-system-site-packages = true\n')
    assert tool.main(['-e', '.']) == 0
    assert programs(ran) == ['pip', 'pip']


def test_pip_alone(load_tool, ran):
    ran.codes = {'-e': 1}
    assert load_tool('install').main(['--installer', 'pip', '-e', '.']) == 1
    assert programs(ran) == ['pip', 'pip']


def test_both_build_the_same_from_source(load_tool, ran):
    """A wheel of mmcv may be compiled for another torch."""
    tool = load_tool('install')
    tool.with_uv(['.'])
    (uv,) = (command for command, _ in ran if command[2] == 'uv')
    tool.with_pip(['.'])
    pip = ran[-1][0]
    for name in tool.FROM_SOURCE:
        assert f'--no-binary={name}' in uv
        assert re.search(rf'--no-binary=\S*{name}', ' '.join(pip))


def test_make_passes_the_choice_on():
    for words, expected in (
        ([], "--installer uv -e '.[dev]'"),
        (['INSTALLER=pip'], "--installer pip -e '.[dev]'"),
    ):
        said = subprocess.run(
            ['make', '-n', 'install-dev', 'VENV=not-there', *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert said.returncode == 0, said.stderr
        assert f'not-there/bin/python tools/install.py {expected}' in (
            said.stdout
        )
