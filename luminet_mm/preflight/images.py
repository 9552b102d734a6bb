"""Check that photos exist, can be read and have the right size."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import mmcv
from mmengine.fileio import get
from PIL import Image

from luminet_mm.preflight.findings import Findings, counted, such_as
from luminet_mm.preflight.leaves import Leaf

# Maps a function over tasks, in this process or in several.
Each = Callable[[Callable, Sequence], list]
ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 are rotated by a quarter turn
SAMPLE = 16


class Loading(NamedTuple):
    """How a pipeline loads photos.

    Args:
        color_type: Of ``LoadImageFromFile``.
        backend: Its ``imdecode_backend``.
        backend_args: The data set's: where its files are.
        skips: Whether missing photos are left out.
    """

    color_type: str = 'color'
    backend: str = 'cv2'
    backend_args: dict | None = None
    skips: bool = False

    @property
    def turns(self) -> bool:
        """Whether photos are rotated by their EXIF data."""
        return self.backend != 'turbojpeg' and (
            self.color_type in ('color', 'grayscale')
        )


class Photo(NamedTuple):
    """What is known about one photo.

    Args:
        path: The file.
        fault: Why it cannot be read, '' if it can.
        size: Width and height as it is loaded.
        turned: Whether its EXIF data swapped the two.
    """

    path: str
    fault: str = ''
    size: tuple[int, int] = (0, 0)
    turned: bool = False


def loading_of(leaf: Leaf) -> Loading:
    """How a data set's pipeline loads photos."""
    load = leaf.transform('LoadImageFromFile') or {}
    return Loading(
        load.get('color_type', 'color'),
        load.get('imdecode_backend') or 'cv2',
        load.get('backend_args') or leaf.settings.get('backend_args'),
        bool(load.get('ignore_empty', False)),
    )


def look_at(path: str, loading: Loading) -> Photo:
    """Read a photo as a pipeline does."""
    try:
        content = get(path, backend_args=loading.backend_args)
    except FileNotFoundError:
        return Photo(path, 'no such file')
    except Exception as error:
        return Photo(path, f'{type(error).__name__}: {error}')
    if not content:
        return Photo(path, 'the file is empty')
    try:
        loaded = mmcv.imfrombytes(
            content, loading.color_type, backend=loading.backend
        )
        height, width = loaded.shape[:2]
    except Exception:
        return Photo(path, _why_not(content))
    turned = loading.turns and _orientation(content) in (5, 6, 7, 8)
    return Photo(path, '', (width, height), turned)


def _why_not(content: bytes) -> str:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except OSError as error:
        if 'identify' not in str(error):
            return str(error)
    except Exception:
        pass
    return 'not a photo, or damaged'


def _orientation(content: bytes) -> int:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1  # a file type without EXIF data


def photo_findings(
    key: str,
    photos: Sequence[Photo],
    said: Sequence[tuple[float, float] | None],
    loading: Loading,
) -> Findings:
    """Report what is wrong with photos that were opened.

    Args:
        key: The data set's key in the config.
        photos: What was found.
        said: Their width and height in the annotations, or None.
        loading: How they were opened.
    """
    findings = Findings()
    broken = [photo for photo in photos if photo.fault]
    if broken:
        findings.add(
            key,
            not loading.skips,
            f'{counted(len(broken), "photo")} cannot be read, '
            + such_as(f'{photo.path} ({photo.fault})' for photo in broken),
        )
    other = [
        (photo, size)
        for photo, size in zip(photos, said)
        if size and not photo.fault and tuple(size) != photo.size
    ]
    turned = [
        each for each in other if each[0].turned and each[1] != each[0].size
    ]
    unturned = [each for each in turned if each[1][::-1] == each[0].size]
    for found, why in (
        (
            unturned,
            'they are rotated by their EXIF data when loaded, but the boxes '
            'fit the unrotated photos. Set color_type='
            "'color_ignore_orientation' in LoadImageFromFile in every "
            'pipeline, or save the photos rotated',
        ),
        (
            [each for each in other if each not in unturned],
            'boxes and photos may not match',
        ),
    ):
        if found:
            findings.add(
                key,
                False,
                f'{counted(len(found), "photo")} with a different size from '
                'the annotations, '
                + such_as(
                    f'{photo.path} ({_size(photo.size)}, not {_size(size)})'
                    for photo, size in found
                )
                + f'; {why}',
            )
    return findings


def _size(size: Iterable[float]) -> str:
    return 'x'.join(f'{value:g}' for value in size)


def missing_findings(
    key: str, folder: str, names: Sequence[str], skips: bool = False
) -> Findings:
    """Look for missing photos by listing their folders.

    This takes a second for COCO, while checking each photo takes minutes on a
    network file system.

    Args:
        key: The data set's key in the config.
        folder: What the names are relative to.
        names: Names of photos.
        skips: Whether the pipeline leaves missing ones out.
    """
    findings = Findings()
    by_folder = defaultdict(list)
    for name in names:
        by_folder[os.path.dirname(name)].append(name)
    missing, there = [], 0
    other_case: dict[str, str] = {}
    for inner, group in by_folder.items():
        try:
            found = set(os.listdir(os.path.join(folder, inner)))
        except OSError:
            found = set()
        there += len(found)
        gone = [n for n in group if os.path.basename(n) not in found]
        missing += gone
        if gone and not other_case:
            lower = {each.lower(): each for each in found}
            other_case = {
                name: lower[os.path.basename(name).lower()]
                for name in gone
                if os.path.basename(name).lower() in lower
            }
    if not missing:
        return findings
    line = (
        f'{len(missing)} of {counted(len(names), "photo")} not in {folder}, '
        f'{such_as(missing)}'
    )
    if other_case:
        name, real = next(iter(other_case.items()))
        line += f'; {name} is spelled {real} there'
    elif len(missing) == len(names):
        line += (
            '; names in the annotations are relative to that folder: change '
            'data_root or data_prefix'
        )
    findings.add(key, not skips, line)
    return findings


def sample_of(count: int) -> list[int]:
    """Positions of a few photos, spread over all of them."""
    step = max(1, count // SAMPLE)
    return list(range(0, count, step))[:SAMPLE]
