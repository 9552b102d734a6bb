"""Runs in work dirs: settings, seed, results and how far they came."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from luminet_mm.files.plain_config import plain_values
from luminet_mm.runs.logs import RunLog, is_finished, read_curves, read_log

# Not metrics, although validations log them.
NOT_METRICS = ('step', 'time', 'data_time', 'memory')
# What a run's folder is called after its settings, by tools/sweep.py.
_SEED = re.compile(r'_seed-?\d+$')


class ReportError(ValueError):
    """There is nothing to report on."""


@dataclass
class Run:
    """One training run, or one evaluation of a checkpoint.

    Attributes:
        folder: Its work dir.
        settings: Its config as plain values; empty if it has none that can
            be read without executing it.
        log: Its validations.
        tested: Whether it was only evaluated, by tools/test.py.
        notes: What is missing, in sentences.
        text: The config as its file has it.
    """

    folder: Path
    settings: dict[str, Any]
    log: RunLog
    tested: bool = False
    notes: list[str] = field(default_factory=list)
    text: str = ''

    @property
    def name(self) -> str:
        """Its folder without the seed."""
        return _SEED.sub('', self.folder.name)

    @cached_property
    def seed(self) -> int | None:
        """The seed that it was given, or drew for itself."""
        seed = block(self.settings, 'randomness').get('seed')
        if isinstance(seed, int):
            return seed
        found = re.search(r'^ +seed: (\d+)', self.head, re.MULTILINE)
        return int(found[1]) if found else None

    @cached_property
    def head(self) -> str:
        """The beginning of its log file: the environment and the config."""
        for path in sorted(self.folder.glob('*/*.log')):
            with path.open('rb') as stream:
                return stream.read(20000).decode(errors='replace')
        return ''

    @cached_property
    def curves(self) -> dict[str, dict[int, float]]:
        """What it logged in training, by name and iteration."""
        return read_curves(self.folder)

    @property
    def results(self) -> dict[str, float]:
        """The metrics of its last validation that are numbers."""
        last = self.log.metrics[-1] if self.log.metrics else {}
        return {
            name: float(value)
            for name, value in last.items()
            if name not in NOT_METRICS and isinstance(value, (int, float))
        }

    @property
    def length(self) -> int | None:
        """The step of its last validation, if the config says it."""
        loop = block(self.settings, 'train_cfg')
        for key in ('max_epochs', 'max_iters'):
            if isinstance(loop.get(key), int):
                return loop[key]
        return None

    @property
    def unit(self) -> str:
        """What a step of its validations is."""
        by_iter = 'max_iters' in block(self.settings, 'train_cfg')
        return 'iteration' if by_iter else 'epoch'

    @property
    def ended(self) -> bool:
        """Whether its last validation is the one at its end."""
        if not self.log.metrics:
            return False
        if self.tested or is_finished(self.folder):
            return True
        hooks = self.settings.get('custom_hooks')
        if 'EarlyStoppingHook' in repr(hooks):
            return True  # it ends when it likes
        return (
            self.length is None or self.log.metrics[-1]['step'] >= self.length
        )

    @property
    def state(self) -> str:
        """How far it came, in words."""
        if self.tested:
            return 'evaluated'
        if not self.log.metrics:
            return 'no validation yet' if self.curves else 'not started'
        step = self.log.metrics[-1]['step']
        if self.ended:
            return f'ended at {self.unit} {step}'
        return f'at {self.unit} {step} of {self.length}'


def block(settings: dict, key: str) -> dict:
    """A dict in a config; an empty one if there is something else."""
    found = settings.get(key)
    return found if isinstance(found, dict) else {}


def find_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Read work dirs of tools/train.py and folders of tools/sweep.py.

    Args:
        paths: The folders; a ``summary.json`` stands for its folder.

    Returns:
        Each run once, in the order of the paths and then of the names.

    Raises:
        ReportError: If a path is not a folder or holds no run.
    """
    folders: dict[Path, None] = {}
    for given in map(Path, paths):
        path = given.parent if given.name == 'summary.json' else given
        if not path.is_dir():
            what = 'is a file' if path.is_file() else 'does not exist'
            raise ReportError(
                f'{given} {what}. Give work dirs of tools/train.py or folders '
                'of tools/sweep.py.'
            )
        found = [path] if _is_run(path) else []
        found += sorted(
            each
            for each in path.iterdir()
            if each.name != 'overwritten' and each.is_dir() and _is_run(each)
        )
        if not found:
            raise ReportError(
                f'{given} is not a work dir: neither it nor a folder in it '
                'holds */vis_data/config.py, which a run of tools/train.py '
                'writes.'
            )
        folders.update(dict.fromkeys(each.resolve() for each in found))
    return [read_run(folder) for folder in folders]


def read_run(folder: Path) -> Run:
    """Read a work dir; what cannot be read becomes a note."""
    run = Run(folder, {}, read_log(folder))
    path = _config_of(folder)
    if path is None:
        run.notes.append(f'{folder.name} has no config.')
    else:
        try:
            run.text = path.read_text('utf-8')
            run.settings = plain_values(run.text)
        except (OSError, ValueError):
            run.notes.append(
                f'{folder.name}: {path.name} is not a config as MMEngine '
                'writes it, so its settings are unknown.'
            )
    if not run.log.metrics:
        tested = _read_test(folder)
        if tested:
            run.log.metrics.append(dict(tested, step=0))
            run.tested = True
        elif (folder / 'last_checkpoint').is_file() and not run.curves:
            run.notes.append(
                f'{folder.name} has checkpoints and no scalars.json, so its '
                'results are unknown. LocalVisBackend writes that file: add '
                'it to visualizer.vis_backends.'
            )
    return run


def _is_run(folder: Path) -> bool:
    return any(
        next(folder.glob(pattern), None) is not None
        for pattern in (
            '[!.]*/vis_data/scalars.json',
            '[!.]*/vis_data/config.py',
            'settings.json',
            'last_checkpoint',
        )
    )


def _config_of(folder: Path) -> Path | None:
    """The config of the newest start; tools/test.py writes others."""
    found = sorted(folder.glob('*/vis_data/config.py'))
    trained = [
        path for path in found if (path.parent / 'scalars.json').is_file()
    ]
    dumped = [
        path
        for path in sorted(folder.glob('*.py'))
        if not path.stem.endswith('_test')
    ]
    kept = trained or dumped or found
    return kept[-1] if kept else None


def _read_test(folder: Path) -> dict:
    """The metrics that tools/test.py wrote last."""
    for path in sorted(folder.glob('*/*.json'), reverse=True):
        if path.stem != path.parent.name:
            continue
        try:
            content = json.loads(path.read_text('utf-8'))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(content, dict) and content:
            return {
                name: value
                for name, value in content.items()
                if isinstance(value, (int, float))
            }
    return {}
