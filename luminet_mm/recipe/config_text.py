"""Write settings as a config that people read: short lines, `dict(...)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDTH = 79


class Code(str):
    """An expression that stands in a config as it is."""


def config_text(header: str, settings: Mapping[str, Any]) -> str:
    """The text of a config.

    Args:
        header: The docstring, without quotes.
        settings: Its top-level names, in order.

    Examples:
        >>> print(config_text('A student.', dict(a=dict(b=Code('x'), c=1))))
        \"\"\"A student.\"\"\"
        <BLANKLINE>
        a = dict(b=x, c=1)
        <BLANKLINE>
    """
    end = '\n' if '\n' in header else ''
    lines = [f'"""{header}{end}"""', '']
    for name, value in settings.items():
        lines.append(f'{name} = {literal(value, 0, len(name) + 3)}')
    return '\n'.join(lines) + '\n'


def literal(value: Any, indent: int = 0, before: int = 0) -> str:
    """A value as source text, on one line if it fits.

    Args:
        value: Of dicts, lists, tuples and plain values.
        indent: Of the line that it is on.
        before: Characters before it on this line, and after it.

    Examples:
        >>> literal(dict(type='Resize', scale=(320, 240), keep_ratio=True))
        "dict(type='Resize', scale=(320, 240), keep_ratio=True)"
    """
    line = _line(value)
    if before + len(line) <= WIDTH or not _parts(value):
        return line
    opening, closing = _brackets(value)
    pad = ' ' * (indent + 4)
    lines = [
        f'{pad}{name}'
        + literal(each, indent + 4, indent + 4 + len(name) + 1)
        + ','
        for name, each in _parts(value)
    ]
    return '\n'.join([opening, *lines, ' ' * indent + closing])


def _line(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        opening, closing = _brackets(value)
        inner = ', '.join(f'{name}{_line(x)}' for name, x in _parts(value))
        comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
        return f'{opening}{inner}{comma}{closing}'
    if isinstance(value, Code):
        return str(value)
    return repr(value)


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Entries with what stands before each."""
    if isinstance(value, Mapping):
        plain = _is_plain(value)
        return [
            (f'{key}=' if plain else f'{key!r}: ', each)
            for key, each in value.items()
        ]
    if isinstance(value, (list, tuple)):
        return [('', each) for each in value]
    return []


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, Mapping):
        return ('dict(', ')') if _is_plain(value) else ('{', '}')
    return ('[', ']') if isinstance(value, list) else ('(', ')')


def _is_plain(value: Mapping) -> bool:
    """Whether all keys may stand as keywords."""
    return all(isinstance(key, str) and key.isidentifier() for key in value)
