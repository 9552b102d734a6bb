"""The command that continues a run."""

from __future__ import annotations

import shlex
import sys


def resume_command() -> str:
    """The given command, with ``--resume`` and without its alternatives."""
    words = iter(sys.argv)
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == '--resume' and not word.startswith('-'):
            continue  # the checkpoint
        if word == '--overwrite' or word.startswith('--resume='):
            continue
        kept.append(word)
    kept = [word for word in kept if word != '--resume']
    return shlex.join(['python', *kept, '--resume'])
