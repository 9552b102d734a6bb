"""Accuracy, parameters and seconds of finished runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.analysis.rows import AnalysisError
from luminet_mm.distillers.blocks import build_loss
from luminet_mm.files.errors import CheckpointError
from luminet_mm.files.plain_config import (
    check_building,
    only_registered,
    plain_values,
)
from luminet_mm.loading.checkpoint import (
    BESIDE_STUDENT,
    get_state_dict,
    load_checkpoint,
)
from luminet_mm.rng import preserved_rng
from luminet_mm.runs.logs import choose_metric, read_log
from luminet_mm.stock import stock_config
from luminet_mm.timing.step import count_parameters


def read_runs(paths: Sequence[str], metric: str | None = None) -> list[dict]:
    """Read accuracy and cost of finished runs.

    Args:
        paths: Work dirs, folders of tools/sweep.py, or their
            ``summary.json``, in which each group of runs is one entry.
        metric: Name of the logged accuracy.

    Returns:
        ``name``, ``metric``, ``accuracy`` (at the last
        validation; mean over runs), ``std``, ``runs``,
        ``seconds_per_batch``, ``parameters`` (of the student) and
        ``extra_parameters`` (those of the method: everything under
        ``distill.`` in the newest checkpoint, or in the built losses if there
        is none). None for values that the files do not contain.

    Raises:
        AnalysisError: If a path holds no run, or a run lacks that metric.
    """
    entries: list[dict] = []
    counted: dict[str, dict] = {}
    for path in map(Path, paths):
        if (path / 'summary.json').is_file():
            path = path / 'summary.json'
        if path.is_file():
            for name, group in _summary(path).items():
                metric = _metric(metric, group, f'{path}, {name}')
                folders = [path.parent / run for run in group['runs']]
                entries.append(
                    dict(
                        name=name,
                        metric=metric,
                        accuracy=group[metric]['mean'],
                        std=group[metric]['std'],
                        runs=len(group['runs']),
                        seconds_per_batch=group['seconds'],
                        **run_sizes(folders[0], group['config'], counted),
                    )
                )
            continue
        log = read_log(path)
        if not log.metrics:
            raise AnalysisError(
                f'--runs {path}: no validation is logged there. Give work '
                'dirs of tools/train.py, folders of tools/sweep.py or their '
                'summary.json.'
            )
        metric = _metric(metric, log.metrics[-1], str(path))
        entries.append(
            dict(
                name=path.resolve().name,
                metric=metric,
                accuracy=log.last(metric),
                std=None,
                runs=1,
                seconds_per_batch=log.seconds,
                **run_sizes(path, '', counted),
            )
        )
    for entry in entries:
        for key in ('accuracy', 'std', 'seconds_per_batch'):
            if entry[key] is not None and math.isnan(entry[key]):
                entry[key] = None  # JSON has no NaN
    return entries


def _summary(path: Path) -> dict:
    try:
        groups = json.loads(path.read_text('utf-8'))
        if groups and all(map(_is_group, groups.values())):
            return groups
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    raise AnalysisError(
        f'--runs {path} is not a summary.json of tools/sweep.py. For a single '
        'run give its work dir.'
    )


def _is_group(group: Any) -> bool:
    """Whether an entry is a group of runs as tools/sweep.py writes it."""
    if not isinstance(group, dict):
        return False
    runs, config = group.get('runs'), group.get('config')
    return (
        isinstance(runs, list)
        and bool(runs)
        and all(isinstance(run, str) and _is_name(run) for run in runs)
        and isinstance(config, str)
        and isinstance(group.get('seconds'), (int, float))
        and all(
            isinstance(value.get(part), (int, float))
            for key, value in group.items()
            if '/' in key
            for part in ('mean', 'std')
        )
    )


def _is_name(run: str) -> bool:
    """Whether it is the name of a folder, not a path to another place."""
    return run not in ('', '.', '..') and Path(run).name == run


def _metric(metric: str | None, entry: dict, where: str) -> str:
    """Check or choose the metric, the same one for all runs."""
    there = [key for key in entry if '/' in key]
    try:
        return choose_metric([there], metric)
    except ValueError as error:
        raise AnalysisError(f'--runs {where}: {error}') from error


def run_sizes(
    work_dir: Path,
    config: str,
    counted: dict,
    say: Callable[[str], Any] = print,
) -> dict:
    """Count parameters: the student's as built, the method's as saved.

    Args:
        work_dir: The run's folder.
        config: A config file, for a folder that has none.
        counted: Results by a config's text, to build each model once.
        say: Told of a checkpoint that cannot be read; then the method's are
            counted as its config builds them.

    Returns:
        ``parameters`` and ``extra_parameters``, None if unknown.
    """
    own = _newest(work_dir, '*.py')  # the config as it ran
    path = own or Path(config)
    sizes: dict = dict(parameters=None, extra_parameters=None)
    if path.is_file():
        content = path.read_bytes()
        if content not in counted:
            counted[content] = _sizes_of_text(path, content, sizes)
        sizes = dict(counted[content])
    saved = _newest(work_dir, '*.pth')
    if saved:
        try:
            weights = get_state_dict(load_checkpoint(saved))
        except CheckpointError as error:  # the run may have died as it saved
            say(
                f'{saved}: parameters of the method are counted as its config '
                f'builds them, because the file cannot be read: {error}'
            )
            return sizes
        sizes['extra_parameters'] = sum(
            value.numel()
            for key, value in weights.items()
            if key.startswith(BESIDE_STUDENT)
        )
    return sizes


def _sizes_of_text(path: Path, content: bytes, unknown: dict) -> dict:
    """Count the parameters of a config's text, without executing the text."""
    try:
        cfg = Config(plain_values(content.decode('utf-8')))
        with only_registered():
            check_building(stock_config(cfg).model)
            return _sizes_as_built(cfg)
    except Exception as error:  # the folder may hold anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(
            f'{path}: parameters are not counted, because it is not a '
            f"run's config as MMEngine writes it: {reason[0][:200]}"
        )
        return dict(unknown)


def _sizes_as_built(cfg: Config) -> dict:
    scope = cfg.get('default_scope', 'mmengine')
    with preserved_rng(), DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(stock_config(cfg).model)
        losses = [
            build_loss(name, loss).loss
            for name, loss in (cfg.model.get('distill') or {}).items()
        ]
    return dict(
        parameters=count_parameters(model),
        extra_parameters=sum(
            value.numel()
            for loss in losses
            for value in loss.state_dict().values()
        ),
    )


def _newest(folder: Path, pattern: str) -> Path | None:
    files = folder.glob(pattern)
    return max(files, key=lambda file: file.stat().st_mtime, default=None)
