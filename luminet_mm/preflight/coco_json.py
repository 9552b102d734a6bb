"""Read one section of a COCO annotation file without parsing the rest.

``instances_train2017.json`` is 448 MB, but its list of 80 categories, which
every process checks before training, is only 7 KB. Nine tenths of its
annotations are mask polygons.
"""

import gc
import json
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

# A polygon mask. A quote inside a string is escaped, so this is a key.
POLYGONS = re.compile(rb'"segmentation"\s*:\s*\[\s*\[[-+\d\s.,eE\[\]]*\]')
KEYS = ('info', 'licenses', 'images', 'annotations', 'categories')


def read_section(
    path: str | Path, key: str, polygons: bool = True
) -> list[dict]:
    """Read a list of a COCO file.

    Args:
        path: The annotation file.
        key: 'images', 'annotations' or 'categories'.
        polygons: Whether to read polygons; otherwise each polygon mask
            becomes a 1, which takes a fifth of the time and memory.

    Returns:
        The entries, in the file's order; empty without the key.

    Raises:
        ValueError: If the file is not a COCO annotation file.
    """
    path = Path(path)
    if path.stat().st_size == 0:
        raise ValueError(f'{path} is empty.')
    with _no_collection():
        section = _find_section(path, key, polygons)
    if section is None:
        text = path.read_bytes()
        if not polygons:
            text = POLYGONS.sub(b'"segmentation":1', text)
        try:
            with _no_collection():
                content = json.loads(text)
        except ValueError as error:
            raise ValueError(
                f'{path} is not JSON: {error}. It may be cut short: copy or '
                'unpack it again.'
            ) from None
        section = content.get(key, []) if isinstance(content, dict) else None
    if not _is_section(section):
        raise ValueError(
            f'{path}: `{key}` is not a list of COCO entries, each with an id.'
        )
    return section


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from scanning millions of entries."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _find_section(
    path: Path, key: str, polygons: bool = True
) -> list[dict] | None:
    """Cut the section out; None if it is not in its usual place."""
    with (
        path.open('rb') as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        quoted = json.dumps(key).encode()
        # In COCO's files the categories come last, the other lists first.
        last = key == 'categories'
        start = content.rfind(quoted) if last else content.find(quoted)
        opening = re.compile(quoted + rb'\s*:\s*(?=\[)').match(
            content, max(start, 0)
        )
        if opening is None:
            return None
        start = opening.end()
        following = _other_key(key).search(content, start)
        end = following.start() if following else len(content)
        text = content[start:end]
        if not polygons:
            text = POLYGONS.sub(b'"segmentation":1', text)
        try:
            section, _ = json.JSONDecoder().raw_decode(text.decode())
        except ValueError:
            return None
    return section if _is_section(section) else None


def _other_key(key: str) -> re.Pattern[bytes]:
    others = '|'.join(other for other in KEYS if other != key)
    return re.compile(f'"(?:{others})"\\s*:'.encode())


def _is_section(section: Any) -> TypeGuard[list[dict]]:
    return isinstance(section, list) and all(
        isinstance(entry, dict) and 'id' in entry for entry in section
    )
