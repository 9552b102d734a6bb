"""The list of faults that a check ends with."""

import os
import re
from typing import Any


class ConfigError(ValueError):
    """What is wrong with a config, one line per fault."""


def raise_faults(problems: list[str]) -> None:
    if problems:
        lines = '\n'.join(f'  - {line}' for line in dict.fromkeys(problems))
        raise ConfigError(
            f'{len(set(problems))} fault(s) in the config:\n{lines}'
        )


def file_problem(key: str, path: Any, fix: str) -> list[str]:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        return []
    text = os.fspath(path)
    if is_remote(text) or os.path.isfile(os.path.expanduser(text)):
        return []
    return [f'{key}: no file {text}; {fix}']


def is_remote(path: str) -> bool:
    return re.match(r'[A-Za-z][\w+-]*:', path) is not None and not re.match(
        r'[A-Za-z]:[\\/]', path
    )
