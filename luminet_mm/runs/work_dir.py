"""Set up a run's folder: lock, leftovers, and where the run starts."""

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from luminet_mm.files.atomic import (
    WriteError,
    full_disk,
    is_full,
    remove_parts,
)
from luminet_mm.files.lock import LockedError, hold
from luminet_mm.runs.launchers import is_first
from luminet_mm.runs.resume import (
    ResumeError,
    checkpoints_of,
    plan_start,
    run_folders,
)

LOCK = 'run.lock'


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Write ``--resume`` into the config, before the config is checked."""
    if args.resume == 'auto':
        if checkpoints_of(cfg) and not args.overwrite:
            cfg.load_from = None  # where the run once started: may be gone
    elif args.resume is not None:
        cfg.resume, cfg.load_from = True, args.resume


@contextlib.contextmanager
def work_dir_of(cfg: Config, args: argparse.Namespace) -> Iterator[list[Path]]:
    """Lock a run's folder, and decide where the run starts.

    Args:
        cfg: The whole config; ``resume`` and ``load_from`` are set.
        args: With ``resume``, ``overwrite`` and
            ``allow_changes``.

    Yields:
        Checkpoints that the run replaces. Only the first of
        several processes looks and decides; the others get an empty list.

    Raises:
        ResumeError: If another run is using the folder, or this one should not
            start as requested.
        WriteError: If the disk is full, whichever code writes.
    """
    if not is_first(cfg):
        yield []
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(Path(cfg.work_dir, LOCK)))
        except LockedError as error:
            raise ResumeError(
                f'Another run is using {cfg.work_dir}: {error.holder}. Wait '
                'for it, stop it, or give another --work-dir.'
            ) from None
        for folder in run_folders(cfg):
            remove_parts(folder)
        replaced = plan_start(
            cfg,
            anew=args.resume == 'auto',
            overwrite=args.overwrite,
            allow_changes=args.allow_changes,
            trust=getattr(args, 'trust', False),
        )
        try:
            yield replaced
        except (OSError, RuntimeError) as error:
            if isinstance(error, WriteError) or not is_full(error):
                raise
            raise full_disk(cfg.work_dir, error) from error


def clear(work_dir: Path, replaced: list[Path], keep: Path) -> None:
    """Remove the previous run's checkpoints and set its logs aside.

    Otherwise tools that read a work dir would take the old run's numbers for
    the new one's.

    Args:
        work_dir: The folder of both runs.
        replaced: The checkpoints to remove.
        keep: The log folder of the new run.
    """
    Path(work_dir, 'last_checkpoint').unlink(missing_ok=True)
    Path(work_dir, 'finished').unlink(missing_ok=True)  # a sweep's
    for path in replaced:
        path.unlink(missing_ok=True)
    for scalars in work_dir.glob('*/vis_data'):
        log = scalars.parent
        if log.resolve() != keep.resolve():
            aside = work_dir / 'overwritten' / log.name
            aside.parent.mkdir(exist_ok=True)
            with contextlib.suppress(OSError, shutil.Error):
                shutil.move(log, aside)
