"""End a tool with one message on the console and the traceback in a file."""

from __future__ import annotations

import argparse
import dis
import hashlib
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import MMLogger

from luminet_mm.files.errors import SampleError
from luminet_mm.launch.again import resume_command
from luminet_mm.launch.notices import without_notices
from luminet_mm.runs.last import last_checkpoint

PACKAGE = str(Path(__file__).parents[1])
# How a collective fails in the remaining processes.
_LEFT_ALONE = 'closed by peer|Connection reset|Broken pipe|remote process'
LINES = 20  # at most, of a message that was not written for this console
# Exceptions that mean a bug in a program, whoever raises them.
BUGS = (AssertionError, AttributeError, NotImplementedError, RecursionError)


@contextmanager
def reported(args: argparse.Namespace | None = None) -> Iterator[None]:
    """Turn an exception that ends a tool into a message a user can act on.

    For an error that this package raises on purpose, only the message is
    shown; for any other, the last line of the traceback. The whole traceback
    goes to the run's log file, or to a separate file if there is no run yet.
    Ctrl-C says what is saved and how to continue. Without an error, the
    process group is closed. If several processes on a machine meet the same
    error, one prints it; an error that only one process meets is printed too.

    Args:
        args: The command line. ``verbose`` also
            prints the traceback, ``launcher`` tells whether there are several
            processes, ``resume`` and ``work_dir`` that a run can be resumed.

    Raises:
        SystemExit: Replaces any other exception; 1, or 130 after Ctrl-C.
    """
    args = args or argparse.Namespace()
    before = _run_logger()
    try:
        with without_notices(getattr(args, 'verbose', False)):
            yield
            _leave_the_others()
    except (Exception, KeyboardInterrupt) as error:
        if _was_interrupted(error):
            if os.environ.get('LOCAL_RANK', '0') == '0':
                _say('\n'.join(['\ninterrupted.', *_how_to_go_on(args)]))
            raise SystemExit(130) from None
        logger = _run_logger()
        _report(error, args, None if logger is before else logger)
        raise SystemExit(1) from error


def _run_logger() -> MMLogger | None:
    """The logger of the newest run; None if there was none.

    Asking MMEngine for it would make one, and import torch for that.
    """
    newest = next(reversed(MMLogger._instance_dict.values()), None)
    return None if newest is None or _is_default(newest) else newest


def _is_default(logger: MMLogger) -> bool:
    """Whether it is the one that MMEngine makes where there is no run."""
    return logger.instance_name == 'mmengine'


def _leave_the_others() -> None:
    """Close the process group after success.

    If it stays open until the interpreter ends, Gloo's threads sometimes abort
    a process that has done all its work
    (``terminate called without an active exception``, pytorch/pytorch#190489),
    and its launcher then reports the run as failed. Not called after an error:
    the other processes may be waiting in a collective, and closing the group
    would wait for them.
    """
    distributed = sys.modules.get('torch.distributed')
    if (
        distributed is not None
        and distributed.is_available()
        and distributed.is_initialized()
    ):
        distributed.destroy_process_group()


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C, or an error that a bare `except` made of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _report(
    error: BaseException, args: argparse.Namespace, logger: MMLogger | None
) -> None:
    """Print an error once, and keep its traceback."""
    known = is_deliberate(error)
    text = message_of(error, known)
    several = getattr(args, 'launcher', 'none') != 'none'
    if several and not _first_to_say(text):
        return
    rank = _rank() if several else 0
    # before the run exists, every process has the same error: only one prints
    shown = rank and (logger is not None or not known)
    lines = [f'error{f" (rank {rank})" if shown else ""}: {text}']
    if getattr(args, 'verbose', False):
        _say(''.join(traceback.format_exception(error)).rstrip())
    elif logger is not None or not known:
        where = _keep(error, logger, rank)
        if where is not None:
            lines.append(f'The traceback is in {where}')
    config = getattr(args, 'config', None)
    if isinstance(error, SampleError) and config:
        lines.append(f'python tools/check_data.py {config} opens every photo.')
    if several and re.search(_LEFT_ALONE, text):
        lines.append('Another process of the run ended: its error says why.')
    if _was_training(error):
        # NaN, of a loss too
        lines += _how_to_go_on(args, isinstance(error, FloatingPointError))
    _say('\n'.join(lines))


def _rank() -> int:
    """This process's, also before the process group exists."""
    if 'RANK' in os.environ:
        return int(os.environ['RANK'])
    dist = sys.modules.get('mmengine.dist')
    return dist.get_rank() if dist else 0


def is_deliberate(error: BaseException) -> bool:
    """Whether this package raised an error on purpose, for a user to read.

    True for its own classes, for anything that a ``raise`` in its code raised,
    and for such an error passed on by a data loader worker.
    """
    if isinstance(error, BUGS):
        return False
    if type(error).__module__.partition('.')[0] == 'luminet_mm':
        return True
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return False
    code = last.tb_frame.f_code
    operation = dis.opname[code.co_code[last.tb_lasti]]
    return operation == 'RAISE_VARARGS' and (
        code.co_filename.startswith((PACKAGE + os.sep, _tools()))
    )


def _was_training(error: BaseException) -> bool:
    """Whether an error came from a training step, not from before it."""
    loops = sys.modules.get('mmengine.runner.loops')
    return loops is not None and any(
        frame.f_code.co_filename == loops.__file__
        and frame.f_code.co_name in ('run_epoch', 'run_iter', '__next__')
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def message_of(error: BaseException, known: bool) -> str:
    """The part of an error that a user needs: a few lines, no traceback.

    Args:
        error: The error; one from a data loader worker has
            that process's traceback in its message.
        known: Whether the message was written for this reader.
    """
    text, name = str(error), type(error).__name__
    if 'Original Traceback (most recent call last)' in text:
        *_, text = re.split(rf'^(?:\w+\.)*{name}: ', text, flags=re.M)
        if text.startswith('Caught '):  # its own text is empty
            text = ''
    text = text.strip()
    if known:
        return text
    lines = f'{name}: {text}'.rstrip(': ').splitlines()
    if len(lines) > LINES:
        lines[LINES:] = ['...']
    return '\n'.join(lines)


def _keep(
    error: BaseException, logger: MMLogger | None, rank: int
) -> str | os.PathLike | None:
    """Write a traceback to a file; never raise another error.

    Returns:
        The file. None if it could not be written; the traceback
        then goes to the console.
    """
    text = ''.join(traceback.format_exception(error))
    path = logger and logger.log_file
    try:
        files = [
            handler
            for handler in (logger.handlers if logger else ())
            if isinstance(handler, logging.FileHandler)
        ]
        if files and logger:
            record = logger.makeRecord(
                logger.name, logging.ERROR, __file__, 0, text, (), None
            )
            for handler in files:
                handler.handle(record)
            return path
        if path:  # only the first process has the file open
            stem = Path(path).with_suffix('')
            path = f'{stem}_rank{rank}_error.log'
            Path(path).write_text(text)
            return path
        tool = Path(sys.argv[0]).stem
        handle, path = tempfile.mkstemp('.log', f'luminet_mm-{tool}-')
        with open(handle, 'w') as file:
            file.write(text)
        return path
    except OSError:  # the error to report may be a full disk
        _say(text)
        return None


def _how_to_go_on(
    args: argparse.Namespace, diverged: bool = False
) -> list[str]:
    """What a run has saved, and the command that continues it.

    After a NaN, the same command would most likely end in a NaN again.
    """
    if not hasattr(args, 'resume'):
        return []
    found = args.work_dir and last_checkpoint(args.work_dir)
    if diverged:
        lines = ['The same settings would most likely end here again.']
        if found:
            lines.append(
                '--resume accepts a changed optim_wrapper.clip_grad. With '
                'another loss_weight or learning rate it is a new run: give '
                'it its own --work-dir, and these weights with --cfg-options '
                f'load_from={found}'
            )
        return lines
    if not found:
        return ['No checkpoint was saved: the same command starts over.']
    if getattr(args, 'launcher', 'none') != 'none':
        return [
            f'{found} is saved: the same command with --resume '
            'continues from it.'
        ]
    return [f'{found} is saved. To continue from it:', f'  {resume_command()}']


def _first_to_say(text: str, seconds: float = 600) -> bool:
    """Whether no other process of this launch has printed this text yet."""
    user = getattr(os, 'getuid', int)()
    folder = Path(tempfile.gettempdir(), f'luminet_mm-errors-{user}')
    digest = hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]
    mark = folder / f'{os.getppid()}-{digest}'
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for old in folder.iterdir():
            if time.time() - old.stat().st_mtime > seconds:
                old.unlink(missing_ok=True)
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def _tools() -> str:
    """The folder of the running tool, if it is one of this package's."""
    folder = Path(sys.argv[0]).absolute().parent
    return f'{folder}{os.sep}' if folder.name == 'tools' else PACKAGE


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
