"""The runs of a sweep: every combination of a grid, with each seed."""

from __future__ import annotations

import argparse
import copy
import fnmatch
import functools
import hashlib
import itertools
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config, DictAction

from luminet_mm.files.installed_configs import found_by_name


@dataclass(frozen=True)
class Cell:
    """One training run.

    Args:
        name: Its folder inside the sweep's folder.
        config: Config file.
        options: ``--cfg-options``, including the seed.
        group: The group; its runs differ only in the seed.
    """

    name: str
    config: str
    options: dict = field(default_factory=dict)
    group: str = ''

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.options['randomness.seed']

    def arguments(self) -> list[str]:
        """Its options, formatted for ``--cfg-options``."""
        return [f'{key}={value}' for key, value in self.options.items()]

    def load(self) -> Config:
        """The config with these options, as the run sees it."""
        parser = argparse.ArgumentParser()
        parser.add_argument('options', nargs='*', action=DictAction)
        cfg = copy.deepcopy(_read(self.config))
        cfg.merge_from_dict(parser.parse_args(self.arguments()).options or {})
        return cfg

    def settings(self) -> dict:
        """The settings that determine its result, with the config's text.

        Raises:
            FileNotFoundError: If the config does not exist.
        """
        return dict(
            config=self.config,
            options={key: str(value) for key, value in self.options.items()},
            sha256=_fingerprint(self.config),
        )


# One thread at a time parses Python: in Python 3.11 two of them can end in
# "SystemError: AST constructor recursion depth mismatch".
_PARSING = threading.Lock()


@functools.cache
def _read(config: str) -> Config:
    with _PARSING, found_by_name():
        return Config.fromfile(config)


@functools.cache
def _fingerprint(config: str) -> str:
    with _PARSING, found_by_name():
        text = Config.fromfile(config).pretty_text  # with its bases
    return hashlib.sha256(text.encode()).hexdigest()


def make_cells(runs: dict) -> list[Cell]:
    """List every combination of a grid, all first seeds first.

    A sweep that is stopped early then has results for every group.

    Args:
        runs: Groups of runs by name: ``config``, ``seeds``, ``options``
            by config key, and ``grid`` with a list of values per option. A
            dict among the options is merged into the config.

    Raises:
        ValueError: If a group has no config or no seeds, or an option cannot
            be written on a command line.
    """
    cells: list[tuple[int, Cell]] = []
    for name, run in runs.items():
        for key in ('config', 'seeds'):
            if not run.get(key):
                raise ValueError(f'runs.{name}.{key} is missing or empty.')
        grid = run.get('grid') or {}
        for values in itertools.product(*grid.values()):
            setting = dict(zip(grid, values, strict=True))
            words = [
                # part of a folder's name
                re.sub(r'[^\w.+-]+', '-', f'{key.split(".")[-1]}{value}')
                for key, value in setting.items()
            ]
            options = dict(_leaves({**(run.get('options') or {}), **setting}))
            for key, value in options.items():
                if not _is_plain(value):
                    raise ValueError(
                        f'runs.{name}: {key} is {value!r}, which '
                        '--cfg-options cannot express. Write a config with '
                        'it, and use that.'
                    )
            group = '_'.join([name, *words])
            for turn, seed in enumerate(run['seeds']):
                cell = Cell(
                    name=f'{group}_seed{seed}',
                    config=run['config'],
                    options={**options, 'randomness.seed': seed},
                    group=group,
                )
                cells.append((turn, cell))
    return [cell for _, cell in sorted(cells, key=lambda each: each[0])]


def choose(
    cells: Sequence[Cell],
    groups: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Cell]:
    """Keep some groups and some seeds of a grid.

    Args:
        cells: All cells of the grid.
        groups: Names of groups, or patterns such as ``kd*``; all by default.
        seeds: Seeds; all by default.

    Raises:
        ValueError: If the grid has no such group or seed, or none of those
            groups has one of those seeds; names what it has.
    """
    for pattern in groups or ():
        names = list(dict.fromkeys(cell.group for cell in cells))
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                f'The grid has no group {pattern!r}. Its groups: '
                f'{", ".join(names)}.'
            )
    for seed in seeds or ():
        known = sorted({cell.seed for cell in cells})
        if seed not in known:
            raise ValueError(
                f'The grid has no seed {seed}. Its seeds: '
                f'{", ".join(map(str, known))}.'
            )
    chosen = [
        cell
        for cell in cells
        if (seeds is None or cell.seed in seeds)
        and (
            groups is None
            or any(fnmatch.fnmatchcase(cell.group, each) for each in groups)
        )
    ]
    if cells and not chosen:
        raise ValueError(
            f'No group of {", ".join(groups or ())} has a seed of '
            f'{", ".join(map(str, seeds or ()))}.'
        )
    return chosen


def _leaves(options: dict) -> Iterator[tuple[str, Any]]:
    """Turn each value of a nested dict into a separate option."""
    for key, value in options.items():
        if isinstance(value, dict) and value:
            yield from _leaves({f'{key}.{k}': v for k, v in value.items()})
        else:
            yield key, value


def _is_plain(value: Any) -> bool:
    """Whether ``key=value`` on a command line keeps the value unchanged."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_plain, value))
    if isinstance(value, str):
        return not re.search(r'[,\[\](){}\s\'"]', value)
    return value is None or isinstance(value, (bool, int, float))
