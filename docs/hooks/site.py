"""MkDocs calls this, see mkdocs.yml: it adds the pages that are generated."""

import importlib.util
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File


def _pages():
    path = Path(__file__).with_name('pages.py')
    spec = importlib.util.spec_from_file_location('site_pages', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = _pages()
GENERATED = {}


def on_config(config):
    """Make the pages, and put them into the menu."""
    methods, api = pages.method_pages(), pages.api_pages()
    GENERATED.update(pages.outside_pages())
    GENERATED.update(methods)
    GENERATED.update(api)
    for part in config.nav:
        for title, entries in part.items():
            if title == 'Choose a method':
                at = entries.index('methods.md') + 1
                entries.insert(at, {'Every method': list(methods)})
            elif title == 'Reference':
                index = f'{pages.API}/index.md'
                rest = [page for page in api if page != index]
                entries.append({'Classes and functions': [index, *rest]})
    return config


def on_files(files, config):
    """Add the pages to those of docs/."""
    for name in pages.LEFT_OUT:
        if (file := files.get_file_from_path(name)) is not None:
            files.remove(file)
    for name, text in GENERATED.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Lists as Python-Markdown reads them."""
    return pages.prepared(markdown)


def on_page_content(html, page, config, files):
    """Docstrings without Sphinx's roles and formulas."""
    return pages.with_formulas(pages.without_roles(html), convert)
