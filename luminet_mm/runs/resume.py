"""Decide where a run starts: from a checkpoint, from scratch, or not."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list
from mmengine.logging import print_log

from luminet_mm.files.errors import UnsafeCheckpointError
from luminet_mm.runs.changes import (
    changed_files,
    compare,
    plain_config,
    teacher_files,
)
from luminet_mm.runs.checkpoints import (
    BrokenError,
    Head,
    NoRunError,
    all_checkpoints,
    check_whole,
    newest,
    read_head,
    written_checkpoints,
)
from luminet_mm.runs.last import last_checkpoint, named_checkpoint
from luminet_mm.runs.launchers import LaunchError, world_size
from luminet_mm.stock import parse_config

WARN = 30  # logging.WARNING


class ResumeError(LaunchError):
    """A run cannot or should not start as requested."""


def plan_start(
    cfg: Config,
    anew: bool = False,
    overwrite: bool = False,
    allow_changes: bool = False,
    trust: bool = False,
) -> list[Path]:
    """Decide where a run starts, and write it into its config.

    With several processes the first one decides while it holds the work dir's
    lock; :func:`agree` tells the others.

    Args:
        cfg: ``resume`` and ``load_from`` are read as MMEngine reads
            them, and set to the checkpoint that was found.
        anew: ``--resume`` without a value: if there is no checkpoint to
            resume, the run starts as the config says, including its
            ``load_from``.
        overwrite: Start over although the work dir holds checkpoints.
        allow_changes: Resume with a changed config.
        trust: Resume from a checkpoint with more than plain data.

    Returns:
        Checkpoints in the work dir that the run replaces.

    Raises:
        ResumeError: If the run would overwrite another, there is no complete
            checkpoint to resume, or the config differs from the checkpoint's.
    """
    folders = run_folders(cfg)
    written = checkpoints_of(cfg)
    head = None
    if anew or cfg.get('resume') and not cfg.get('load_from'):
        named = named_checkpoint(folders[0]) or ''
        if _is_remote(named):
            cfg.resume, cfg.load_from = True, named
            return []
        head = _find(folders, written, overwrite, trust)
    elif cfg.get('resume'):
        if _is_remote(cfg.load_from):
            return []
        head = _named(Path(cfg.load_from), trust)
        if written and not overwrite and not _inside(head.path, folders):
            raise ResumeError(
                f'{_count(written)}, and {head.path} is not one of them: the '
                'run would overwrite them. Give another --work-dir, or '
                '--overwrite. To continue the run in this folder, give '
                '--resume without a file.'
            )
        if _inside(head.path, folders):
            written = []
    elif written and not overwrite:
        raise ResumeError(
            f'{_count(written)}. A run that starts over would overwrite '
            'them: --resume continues from the last one, another --work-dir '
            'keeps them, --overwrite removes them.'
        )
    if head is None:
        cfg.resume = False
        return written
    _check_config(head, cfg, allow_changes)
    cfg.resume, cfg.load_from = True, str(head.path)
    return written if overwrite and not _inside(head.path, folders) else []


def agree(runner: Any, cfg: Config) -> None:
    """Make every process start where the first one decided.

    Args:
        runner: Built, not yet training.
        cfg: The config, completed by :func:`plan_start` in the first
            process.
    """
    start = [(bool(cfg.get('resume')), cfg.get('load_from'))]
    broadcast_object_list(start)
    runner._resume, runner._load_from = start[0]
    runner.cfg.resume, runner.cfg.load_from = start[0]


def checkpoints_of(cfg: Config) -> list[Path]:
    """The checkpoints that a run of this config wrote."""
    return written_checkpoints(
        run_folders(cfg), _hook(cfg).get('filename_tmpl')
    )


def run_folders(cfg: Config) -> list[Path]:
    """The folders of a run's checkpoints: work dir, and ``out_dir`` if set."""
    work_dir = Path(cfg.work_dir)
    out = _hook(cfg).get('out_dir')
    if not out or _is_remote(out):
        return [work_dir]
    return [work_dir, Path(out, work_dir.absolute().name)]


def _hook(cfg: Config) -> Mapping:
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    return hook if isinstance(hook, Mapping) else {}


def _find(
    folders: list[Path], written: list[Path], overwrite: bool, trust: bool
) -> Head | None:
    """The newest complete checkpoint; None if there was no run.

    Raises:
        ResumeError: If there was a run, but none of it can be used.
    """
    named = named_checkpoint(folders[0])
    paths = all_checkpoints(folders)
    last = last_checkpoint(folders[0])
    for folder in folders[1:]:
        if named and not last and Path(folder, Path(named).name).exists():
            last = Path(folder, Path(named).name)
    if last is not None and last.is_dir():  # deepspeed's
        return Head(last)
    faults: dict[Path, str] = {}
    if named and last is None:
        faults[Path(named)] = 'does not exist'
    if last is not None:
        # it was saved, but the process was killed before it was named
        since = last.stat().st_mtime_ns
        later = [
            path
            for path in paths
            if path.stat().st_mtime_ns > since and not path.samefile(last)
        ]
        head, faults = newest([last, *later], trust)
        if head is not None and last not in faults:
            return head
    head, broken = newest(paths, trust)
    faults.update(broken)
    text = '; '.join(f'{path} {fault}' for path, fault in faults.items())
    if head is not None:
        print_log(
            f'{text or "no last_checkpoint"}. Resuming from the newest '
            f'complete checkpoint: {head.path} (epoch {head.epoch}, '
            f'iteration {head.iter}).',
            'current',
            WARN,
        )
        return head
    text = text or _unfit(written, trust)
    if text and not overwrite:
        raise ResumeError(
            f'{folders[0]} has no checkpoint to resume from: {text}. '
            '--overwrite starts over there. To use only the weights of a '
            'file, give --cfg-options load_from=FILE and another --work-dir.'
        )
    return None


def _unfit(paths: list[Path], trust: bool) -> str:
    """Say why no run can resume from these complete checkpoints."""
    found = []
    for path in paths:
        try:
            read_head(path, trust)
        except ValueError as error:
            found.append(f'{path} {error}')
    return '; '.join(found)


def _named(path: Path, trust: bool) -> Head:
    """Check the checkpoint that the user named.

    Raises:
        ResumeError: If a run cannot resume from it; says what can be done.
    """
    if path.is_dir():
        return Head(path)
    try:
        head = read_head(path, trust)
        check_whole(path)
    except NoRunError as error:
        raise ResumeError(
            f'{path} {error}, so no run can resume from it: it was published, '
            'or is a best_*.pth or another file with only weights. To start a '
            'new run from its weights, leave --resume out and give '
            f'--cfg-options load_from={path}.'
        ) from None
    except BrokenError as error:
        raise ResumeError(
            f'{path} {error}. Give another file, or --resume without one: it '
            'takes the newest complete one in the work dir.'
        ) from None
    except (UnsafeCheckpointError, OSError) as error:
        raise ResumeError(str(error)) from None
    return head


def _check_config(head: Head, cfg: Config, allowed: bool) -> None:
    """Compare the config with the one in the checkpoint.

    Raises:
        ResumeError: If the training would change and that is not allowed.
    """
    if not head.config:
        return
    old, new = parse_config(head.config), plain_config(cfg)
    if old is None or new is None:
        print_log(
            f'{head.path}: its config holds more than plain values and was '
            'not compared with this one.',
            'current',
            WARN,
        )
        return
    changes = [
        *compare(old, new, head.processes, world_size(cfg)),
        *changed_files(head.teachers, teacher_files(new)),
    ]
    refused = [change for change in changes if change.refused]
    if refused and not allowed:
        listed = '\n  '.join(change.text for change in refused)
        raise ResumeError(
            f'{head.path} is from a run with another config:\n  {listed}\n'
            'Undo the change; or start a new run from its weights, in another '
            f'--work-dir and with --cfg-options load_from={head.path} '
            'instead of --resume; or give --allow-changes to continue with '
            'the changed config.'
        )
    if changes:
        listed = '\n  '.join(change.text for change in changes)
        print_log(
            f'{head.path} is from a run with another config:\n  {listed}',
            'current',
            WARN,
        )


def _is_remote(path: str | os.PathLike) -> bool:
    return '://' in str(path)


def _inside(path: Path, folders: list[Path]) -> bool:
    parent = path.resolve().parent
    return any(parent == folder.resolve() for folder in folders)


def _count(written: list[Path]) -> str:
    names = ', '.join(path.name for path in written[:3])
    more = ', ...' if len(written) > 3 else ''
    return (
        f'{written[0].parent} holds {len(written)} checkpoint(s) of a run '
        f'({names}{more})'
    )
