"""The checkpoint that a run saved last, by the file that names it."""

from __future__ import annotations

import os
from pathlib import Path


def named_checkpoint(folder: str | os.PathLike) -> str | None:
    """The content of ``last_checkpoint``; None if it is missing or empty."""
    try:
        text = Path(folder, 'last_checkpoint').read_text(errors='replace')
    except OSError:
        return None
    return text.strip() or None


def last_checkpoint(folder: str | os.PathLike) -> Path | None:
    """The file that ``last_checkpoint`` names, even if the folder moved.

    Args:
        folder: A work dir.

    Returns:
        An existing file or folder. One of that name in the work
        dir comes first, since the path may be the folder's old location.
    """
    text = named_checkpoint(folder)
    if text is None:
        return None
    for path in (Path(folder, Path(text).name), Path(text)):
        if path.exists():
            return path
    return None
