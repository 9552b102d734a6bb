"""Read a config file, or say in one line what is wrong with it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config import config as mmengine_config

from luminet_mm.files.installed_configs import found_by_name
from luminet_mm.files.shipped import copy_hint

ENDINGS = ('.py', '.json', '.yaml', '.yml')


class ConfigFileError(ValueError):
    """A file cannot be read as a config."""


def read_config(path: str | os.PathLike, what: str = 'config') -> Config:
    """Read a config and its bases.

    Args:
        path: A config file for MMEngine.
        what: The word for it in messages.

    Returns:
        The settings.

    Raises:
        ConfigFileError: If the file does not exist or is not a config, or its
            code or a base's code fails; names the file and the line.
    """
    _check_file(Path(path), what)
    try:
        with found_by_name():
            cfg = Config.fromfile(path)
        _import_all(cfg)
    except Exception as error:
        own = os.path.abspath(os.path.expanduser(path))
        file = _being_read(error) or own
        shown = f'{what} {path}'
        if file != own:
            _check_file(Path(file), f'{shown} reads a base:')
            shown += f', its base {os.path.relpath(file)}'
        where, reason = _place(error, file)
        raise ConfigFileError(f'{shown}{where}: {reason}') from error
    if not len(cfg):
        raise ConfigFileError(
            f'{what} {path} sets nothing: it is empty, or the wrong file.'
        )
    return cfg


def read_grid(path: str | os.PathLike) -> Mapping:
    """Read the ``runs`` of a grid file for ``tools/sweep.py``.

    Raises:
        ConfigFileError: If it cannot be read or has no ``runs``.
    """
    runs = read_config(path, 'grid').get('runs')
    if not isinstance(runs, Mapping):
        raise ConfigFileError(
            f'grid {path} has no runs=dict(...), which lists the groups of '
            'runs. tools/sweep.py --help shows one.'
        )
    return runs


def renamed(cfg: Config, filename: str) -> Config:
    """A copy of a config, to be written under another name.

    A pure Python config keeps the record of what it only imported.
    """
    cfg = copy.deepcopy(cfg)
    object.__setattr__(cfg, '_filename', filename)
    return cfg


def _import_all(node: Any) -> None:
    """Import what a pure Python config names, as its first use would."""
    if isinstance(node, (dict, Config)):
        for _, value in node.items():
            _import_all(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _import_all(value)


def _check_file(path: Path, what: str) -> None:
    """Refuse a file that is not a config.

    Raises:
        ConfigFileError: Says what the file is instead.
    """
    name = f'{what} {path}'
    if path.is_dir():
        raise ConfigFileError(
            f'{name} is a folder. Give a config file, such as one in it.'
        )
    if not path.is_file():
        raise ConfigFileError(f'{name} does not exist.{copy_hint(path)}')
    if path.suffix not in ENDINGS:
        raise ConfigFileError(
            f'{name} is not a config: its name must end in '
            f'{", ".join(ENDINGS)}.'
        )
    content = path.read_bytes()
    try:
        text = content.decode('utf-8-sig').lstrip()
    except UnicodeDecodeError:
        text = '\0'
    if '\0' in text:
        raise ConfigFileError(
            f'{name} is not a config but a binary file. A checkpoint goes '
            'after the config.'
        )
    if text[:200].lower().startswith(('<!doctype', '<html', '<?xml', '<head')):
        raise ConfigFileError(
            f'{name} is not a config but a web page: its first line is '
            f'{text.splitlines()[0][:60]!r}. Download the file itself (GitHub '
            'calls it "raw").'
        )


def _being_read(error: BaseException) -> str | None:
    """The file that MMEngine was reading: the config or one of its bases."""
    file, trace = None, error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_filename == mmengine_config.__file__:
            # this frame has the file's text but not its name
            name = frame.f_locals.get('filename')
            if isinstance(name, (str, os.PathLike)):
                named = os.path.abspath(os.path.expanduser(name))
                # MMEngine parses a temporary copy, which is gone
                if os.path.exists(named):
                    file = named
        trace = trace.tb_next
    return file


def _place(error: BaseException, file: str) -> tuple[str, str]:
    """The line of an error in a file, as text, and the reason."""
    if isinstance(error, SyntaxError):
        line = f', line {error.lineno}' if error.lineno else ''
        code = (error.text or '').strip()
        reason = f'{error.msg}: {code}' if code else str(error.msg)
        return line, f'syntax error: {reason}'
    number = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            number = trace.tb_lineno
        trace = trace.tb_next
    reason = f'{type(error).__name__}: {error}'
    return (f', line {number}' if number else ''), reason
