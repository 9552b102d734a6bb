"""Paths as configs name them, so that they work from any folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from luminet_mm.recipe.config_text import Code
from luminet_mm.recipe.dataset import Data, Split

HERE = '{{ fileDirname }}'
"""The folder of the config itself, which MMEngine fills in."""
_PACKAGE = Path(__file__).parents[1]
# A clone's folder, or what a wheel brings.
_WEIGHTS = (_PACKAGE.parent / 'weights', _PACKAGE / '.mim' / 'weights')


def from_config(path: Path, folder: Path) -> str:
    """A path that starts at a config's own folder.

    Args:
        path: Beside that folder, or below it.
        folder: The config's folder.

    Examples:
        >>> from_config(Path('/a/teacher/epoch_3.pth'), Path('/a/configs'))
        '{{ fileDirname }}/../teacher/epoch_3.pth'
    """
    if path.is_relative_to(folder):
        return f'{HERE}/{path.relative_to(folder).as_posix()}'
    return f'{HERE}/../{path.relative_to(folder.parent).as_posix()}'


def ann_file(data: Data, split: Split, folder: Path, whole: bool) -> str:
    """An annotation file: in the data folder, or beside the config.

    Args:
        data: The data.
        split: One of its splits.
        folder: The config's folder.
        whole: With ``data_root``, for an evaluator.
    """
    path = split.ann_file
    if path is None:
        return ''
    if not path.is_relative_to(data.root):
        return from_config(path, folder)
    name = path.relative_to(data.root).as_posix()
    return Code(f'data_root + {name!r}') if whole else name


def photos(data: Data, split: Split) -> str:
    """The folder of a split's photos, from ``data_root`` on."""
    name = split.photos.relative_to(data.root).as_posix()
    return '' if name == '.' else f'{name}/'


def copy_weights(name: str, folder: Path) -> str | None:
    """Put weights that the project ships beside the configs.

    Returns:
        Their path for a config; None if they are not there.
    """
    target = folder / name
    for source in _WEIGHTS:
        if not target.is_file() and (source / name).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f'.{name}.part'
            shutil.copyfile(source / name, part)
            part.replace(target)
    return from_config(target, folder) if target.is_file() else None
