"""Formulas in the docstrings, which are written for Sphinx, in Markdown."""

import importlib.util
from pathlib import Path

import griffe

_SPEC = importlib.util.spec_from_file_location(
    'site_pages', Path(__file__).with_name('pages.py')
)
pages = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(pages)


class Formulas(griffe.Extension):
    """Changes each docstring as it is read."""

    def on_instance(self, *, obj, **kwargs):
        """Change that of an object."""
        if obj.docstring:
            obj.docstring.value = pages.formulas(obj.docstring.value)
