"""The list of faults that a check reports."""

import difflib
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from mmengine.logging import print_log

from luminet_mm.files.shipped import copy_hint

T = TypeVar('T')


class ConfigError(ValueError):
    """What is wrong with a config, one line per fault."""


def raise_faults(problems: list[str], last: str = '') -> None:
    """Raise one error for all faults, with a last line about them."""
    if problems:
        lines = [f'  - {line}' for line in dict.fromkeys(problems)]
        lines += [last] if last else []
        raise ConfigError(
            f'{len(set(problems))} fault(s) in the config:\n'
            + '\n'.join(lines)
        )


def guarded(
    problems: list[str], key: str, check: Callable[..., T], *args: Any
) -> T | None:
    """Run one check; an error inside it is a fault as well.

    A config may hold anything anywhere. The checks have messages for common
    mistakes; for all others this one names the block.

    Args:
        problems: Where the line is added.
        key: The block that is checked.
        check: What to run.
        *args: Its arguments.

    Returns:
        The check's result, or None.
    """
    try:
        return check(*args)
    except RecursionError:
        problems.append(f'{key}: it contains itself, or is nested too deeply')
    except Exception as error:
        print_log(traceback.format_exc(), 'current', logging.DEBUG)
        problems.append(
            f'{key}: it cannot be read ({type(error).__name__}: '
            f'{one_line(error)}); compare it with a working config'
        )
    return None


def one_line(error: Any, limit: int = 600) -> str:
    """An error's text on one line, and not too long."""
    text = ' '.join(str(error).split())
    return text if len(text) <= limit else text[: limit - 3] + '...'


def shown(value: Any) -> str:
    """A value of a config as a message shows it."""
    text = ' '.join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + '...'


def did_you_mean(word: Any, known: Iterable[str], cutoff: float = 0.6) -> str:
    """``'; did you mean ...?'``, or '' if no name is similar."""
    found = closest(word, known, cutoff)
    return f'; did you mean {found!r}?' if found else ''


def closest(word: Any, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The name most similar to a word, '' if none is."""
    if not isinstance(word, str):
        return ''
    plain = {name.lower(): name for name in known}
    # the part before the last dot says where, not what
    plain.update({low.rpartition('.')[2]: plain[low] for low in list(plain)})
    found = difflib.get_close_matches(word.lower(), plain, 1, cutoff)
    if not found:
        bare = word.lower().rpartition('.')[2]
        found = difflib.get_close_matches(bare, plain, 1, max(cutoff, 0.7))
    return plain[found[0]] if found else ''


def file_problem(key: str, path: Any, fix: str) -> list[str]:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        return []
    text = os.fspath(path)
    if is_remote(text) or os.path.isfile(os.path.expanduser(text)):
        return []
    hint = copy_hint(text)
    return [f'{key}: no file {text}; {fix}' + (f'.{hint}' if hint else '')]


def is_remote(path: str) -> bool:
    return re.match(r'[A-Za-z][\w+-]*:', path) is not None and not re.match(
        r'[A-Za-z]:[\\/]', path
    )
