"""What ``python -m luminet_mm.methods`` prints and writes."""

import runpy
import sys
from pathlib import Path

import pytest

from luminet_mm import losses
from luminet_mm.methods import __main__ as command

ROOT = Path(__file__).parents[2]


def test_it_prints_the_page(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['methods'])
    # imported above, which runpy would warn of
    monkeypatch.delitem(sys.modules, 'luminet_mm.methods.__main__')
    runpy.run_module('luminet_mm.methods', run_name='__main__')
    printed = capsys.readouterr().out
    page = (ROOT / 'docs' / 'methods.md').read_text(encoding='utf-8')
    assert printed == page


def test_it_writes_all_pages_or_prints_one(tmp_path, monkeypatch, capsys):
    for folder in ('docs', 'luminet_mm/methods'):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(
        command, '__file__', str(tmp_path / 'luminet_mm/methods/__main__.py')
    )
    pages = dict(one=('docs/one.md', lambda root: f'in {root.name}\n'))
    pages['two'] = ('two.yml', lambda root: 'two\n')
    monkeypatch.setattr(command, 'PAGES', pages | {'methods': pages['one']})
    command.main(['--page', 'two'])
    assert capsys.readouterr().out == 'two\n'
    command.main(['--write'])
    assert (tmp_path / 'docs/one.md').read_text() == f'in {tmp_path.name}\n'
    assert (tmp_path / 'two.yml').read_text() == 'two\n'


def test_a_loss_that_is_not_exported_is_named(monkeypatch, capsys):
    assert command.unlisted() == []
    exported = [each for each in losses.__all__ if each != 'KDLoss']
    monkeypatch.setattr(losses, '__all__', exported)
    with pytest.raises(SystemExit):
        command.main([])
    assert 'KDLoss: registered, and not in __all__' in capsys.readouterr().err


def test_without_the_project_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, '__file__', str(tmp_path / 'a/b/c.py'))
    try:
        command.main(['--write'])
    except SystemExit as stop:
        assert stop.code == 2
    assert 'has no docs folder' in capsys.readouterr().err
