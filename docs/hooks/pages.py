"""What the site has beside the files of docs/, and how their text changes.

Needs neither MkDocs nor the package, except :func:`method_pages`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / 'luminet_mm'
# Files of the project that are pages of the site as well.
OUTSIDE = {
    'index.md': 'README.md',
    'contributing.md': 'CONTRIBUTING.md',
    'changelog.md': 'CHANGELOG.md',
}
LEFT_OUT = ('README.md',)  # of docs/: the list of pages that GitHub shows
METHODS = 'methods'  # the folder of the pages made from cards
API = 'api'  # the folder of the pages made from docstrings


def own_pages() -> list[str]:
    """The pages in docs/ that are on the site."""
    names = sorted(path.name for path in (ROOT / 'docs').glob('*.md'))
    return [name for name in names if name not in LEFT_OUT]


def outside_pages() -> dict[str, str]:
    """README and the like, with links that fit the site."""
    return {
        page: fitted((ROOT / file).read_text(encoding='utf-8'))
        for page, file in OUTSIDE.items()
    }


def fitted(text: str) -> str:
    """Links of a file at the project's top, as a page of the site has them."""
    for page, file in OUTSIDE.items():
        text = text.replace(f']({file}', f']({page}')
    text = re.sub(r'\]\(docs/README\.md\)', '](index.md)', text)
    text = re.sub(r'\]\(docs/', '](', text)
    return re.sub(r'\[([^\]]+)\]\((?:LICENSE|CITATION\.cff)\)', r'\1', text)


# -- pages from the docstrings ----------------------------------------------


def api_pages() -> dict[str, str]:
    """A page for each package, and for each module beside them."""
    pages, rows = {}, []
    for name, file in _packages():
        first = ast.get_docstring(ast.parse(file.read_text(encoding='utf-8')))
        head = (first or '').partition('\n')[0]
        dotted = f'luminet_mm.{name}'
        pages[f'{API}/{name}.md'] = (
            f'# {dotted}\n\n::: {dotted}\n'
            '    options:\n      show_root_heading: false\n'
            '      show_root_toc_entry: false\n'
        )
        rows.append(f'- [`{dotted}`]({name}.md): {head}')
    pages[f'{API}/index.md'] = (
        '# Classes and functions\n\nFrom the docstrings. The losses of the '
        'methods are on the [pages of the methods](../methods.md).\n\n'
        + '\n'.join(rows)
        + '\n'
    )
    return pages


def _packages() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.iterdir()):
        if path.name.startswith('_'):
            continue
        if (path / '__init__.py').is_file():
            if path.name == 'losses':  # the methods have their own pages
                yield 'losses.base', path / 'base' / '__init__.py'
            else:
                yield path.name, path / '__init__.py'
        elif path.suffix == '.py':
            yield path.stem, path


# -- pages from the cards ---------------------------------------------------


def method_pages() -> dict[str, str]:
    """A page for each method. This imports the package."""
    from luminet_mm.methods import METHODS as ALL
    from luminet_mm.methods.method_page import file_name, method_page

    return {
        f'{METHODS}/{file_name(each)}': method_page(each, ROOT) for each in ALL
    }


# -- text -------------------------------------------------------------------


def prepared(text: str) -> str:
    """A page as Python-Markdown has to see it.

    GitHub takes what is indented by two or three blanks below an item of a
    list as a part of it; Python-Markdown wants four, and an empty line
    between a block of code and the next item.
    """
    lines, width, fence = [], 0, ''
    for line in text.split('\n'):
        mark = re.match(r'\s*(```+)', line)
        item = re.match(r'([-*]|\d+\.) +', line)
        if fence:
            if mark and len(mark[1]) >= len(fence):
                fence = ''
        elif mark:
            if not line.startswith(' '):
                width = 0
            fence = mark[1]
        elif item:
            width = len(item[0])
            if lines and lines[-1].lstrip().startswith('```'):
                lines.append('')  # else it continues the block's paragraph
        elif line.strip() and not line.startswith(' '):
            width = 0
        if width and not item and line.startswith(' ' * width):
            line = '    ' + line[width:]
        lines.append(line)
    return '\n'.join(lines)


def formulas(text: str) -> str:
    r"""Sphinx's formulas as pymdownx.arithmatex reads them.

    Examples:
        >>> print(formulas('With :math:`x > 0`.'))
        With \(x > 0\).
    """
    text = re.sub(
        r'^( *)\.\. math::[ ]*(.*(?:\n(?:\1 +.*| *(?=\n\1 +\S)))*)',
        _block,
        text,
        flags=re.M,
    )
    return re.sub(
        r':math:`([^`]+)`',
        lambda match: rf'\({" ".join(match[1].split())}\)',
        text,
    )


def _block(match: re.Match[str]) -> str:
    tex = ' '.join(match[2].split())
    return f'{match[1]}$$\n{match[1]}{tex}\n{match[1]}$$'


def with_formulas(html: str, convert) -> str:
    """Formulas as MathML, which browsers draw without a script.

    Args:
        html: A page, with formulas as pymdownx.arithmatex leaves them.
        convert: Makes MathML of LaTeX; takes ``display``.
    """

    def shown(match: re.Match[str]) -> str:
        block = match[1] == 'div'
        tex = unescape(match[2]).strip()
        return convert(tex, display='block' if block else 'inline')

    return re.sub(
        r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>',
        shown,
        html,
        flags=re.S,
    )


def without_roles(html: str) -> str:
    """Sphinx's roles, which the docstrings have, as plain code or links."""

    def shown(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith('~'):
            name = name[1:]
            label = name.rpartition('.')[2]
        else:
            label = name
        code = f'<code>{label}</code>'
        if not name.startswith('luminet_mm.'):
            return code
        return f'<autoref identifier="{name}" optional>{code}</autoref>'

    return re.sub(
        r'(?<!\w):?(?:class|func|meth|mod|data|attr|exc|obj):'
        r'<code>([^<]+)</code>',
        shown,
        html,
    )
