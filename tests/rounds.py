"""Small teacher caches of made-up numbers; nothing reads what they are of."""

import os
import pickle
from pathlib import Path

import numpy as np

from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_writer import CacheWriter

IMAGES, CLASSES, ROUNDS = 6, 4, 2


def header(**kwargs):
    """What a cache says of itself; nothing here looks into the parts."""
    parts = dict(
        format=2,
        images=IMAGES,
        classes=CLASSES,
        rounds=ROUNDS,
        dtype='float32',
        teacher={},
        data=dict(classes=[]),
        augmentation={},
        views={},
        versions={},
        checksums={},
    )
    return {**parts, **kwargs}


def logits(number):
    return np.random.default_rng(number).normal(size=(IMAGES, CLASSES))


def write(folder, **kwargs):
    """Write what is missing; its numbers."""
    with CacheWriter(folder, header(**kwargs)) as writer:
        missing = writer.missing()
        if missing:
            writer.begin()
        for number in missing:
            writer.open(number)[:] = logits(number)
            writer.close(number)
        if missing or not writer.finished:
            writer.finish()
    return missing


def read(folder):
    return TeacherCache(folder).rows(range(ROUNDS * IMAGES))


EXPECTED = np.concatenate([logits(0), logits(1)]).astype(np.float32)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def break_file(path, kind):
    """Write other bytes into a round's file."""
    content = path.read_bytes()
    if kind == 'zeros':
        content = content[:-32] + bytes(32)
    elif kind == 'a bit':
        content = content[:-1] + bytes([content[-1] ^ 1])
    elif kind == 'shorter':
        content = content[:-4]
    elif kind == 'longer':
        content += b'1234'
    elif kind == 'empty':
        content = b''
    elif kind == 'text':
        content = b'<html>' * 50
    elif kind == 'pickle':
        content = pickle.dumps(print)
    elif kind == 'another shape':
        content = content.replace(b'(6, 4)', b'(9, 9)')
    elif kind == 'wild header':
        content = content.replace(b"{'descr'", b'{((((((((')
    path.write_bytes(content)


def put(path, kind, target):
    """Put what is not a file of its own where one should be."""
    path.unlink(missing_ok=True)
    if kind == 'link':
        path.symlink_to(target)
    elif kind == 'dangling':
        path.symlink_to(target.with_name('gone'))
    elif kind == 'pipe':
        os.mkfifo(path)
    else:
        path.mkdir()
