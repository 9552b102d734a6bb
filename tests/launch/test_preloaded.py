"""What is imported for trainings, without a word."""

import importlib
import importlib.util
import sys

import pytest

from luminet_mm.launch import preloaded


def test_a_library_that_prints_or_fails_is_left_to_the_training(
    monkeypatch, capsys
):
    asked = []

    def import_module(name):
        asked.append(name)
        print('a welcome')
        print('a warning', file=sys.stderr)
        raise [ImportError, AttributeError][len(asked) % 2]('broken')

    monkeypatch.setattr(importlib, 'import_module', import_module)
    importlib.reload(preloaded)
    assert tuple(asked) == preloaded.MODULES
    assert capsys.readouterr() == ('', '')


def test_ctrl_c_needs_no_traceback(monkeypatch):
    def import_module(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, 'import_module', import_module)
    with pytest.raises(SystemExit) as end:
        importlib.reload(preloaded)
    assert end.value.code == 130


def test_every_module_is_there():
    for name in preloaded.MODULES:
        assert importlib.util.find_spec(name), name
