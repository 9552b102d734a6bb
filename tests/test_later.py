"""Modules that are imported when they are first used."""

import sys
from types import ModuleType

import pytest

from luminet_mm.later import Later, later_names


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module that is on the path, and not imported yet."""
    (tmp_path / 'late_module.py').write_text('value = 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield 'late_module'
    sys.modules.pop('late_module', None)


def test_a_module_is_imported_at_its_first_use(package):
    module = Later(package)
    assert package not in sys.modules
    assert module.value == 1
    assert package in sys.modules
    sys.modules[package].value = 2  # as a test patches it
    assert module.value == 2


def test_a_name_that_is_not_there(package):
    with pytest.raises(AttributeError, match='late_module'):
        getattr(Later(package), 'other')  # noqa: B009
    with pytest.raises(ModuleNotFoundError, match='not_there'):
        getattr(Later('not_there'), 'value')  # noqa: B009


def test_names_of_a_package(package, monkeypatch):
    whole = ModuleType('whole')
    whole.__getattr__ = later_names('whole', value=package)
    monkeypatch.setitem(sys.modules, 'whole', whole)
    assert package not in sys.modules
    from whole import value

    assert value == 1 and package in sys.modules
    with pytest.raises(ImportError, match="cannot import name 'other'"):
        from whole import other  # noqa: F401
    assert not hasattr(whole, 'other')
