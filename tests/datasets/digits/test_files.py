"""Files of the digits data: pinned, whole or absent, and never stale."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time

import cv2
import pytest
from digits import SMALL, listing, read

from luminet_mm.datasets import (
    fingerprint,
    make_digits,
)
from luminet_mm.datasets.digits import files as digit_files
from luminet_mm.datasets.digits import scenes as digit_scenes

DEFAULT = dict(
    train='a6f4d7dca8013ac58de38c2302cc05de63e63bb0183ce37fd165c20958a4f544',
    val='d670b9682e360ec5087a87bea6365edc047de054b898d56a8d470e228bf4d39e',
)


def test_pixels_and_boxes_are_pinned(tmp_path, split):
    ann_file = make_digits(
        tmp_path, split, num_images=4, image_size=96, seed=3
    )
    assert fingerprint(ann_file) == SMALL[split]
    assert read(ann_file)['info']['fingerprint'] == SMALL[split]


@pytest.mark.slow
def test_default_data_is_pinned(tmp_path, split):
    assert fingerprint(make_digits(tmp_path, split)) == DEFAULT[split]


def test_two_makes_are_equal(root, tmp_path, content, split):
    count = len(content['images'])
    again = make_digits(tmp_path, split, num_images=count)
    assert fingerprint(again) == content['info']['fingerprint']
    assert read(again) == content


def test_longer_set_starts_like_a_shorter_one(root, tmp_path, content, split):
    few = read(make_digits(tmp_path, split, num_images=3))
    assert few['images'][-1]['id'] == 3
    boxes = [item['bbox'] for item in few['annotations']]
    assert boxes == [
        item['bbox'] for item in content['annotations'] if item['image_id'] < 4
    ]


def test_seed_and_split_change_the_data(tmp_path):
    made = {
        fingerprint(make_digits(tmp_path, split, num_images=2, seed=seed))
        for split in ('train', 'val')
        for seed in (0, 1)
    }
    assert len(made) == 4


def test_fingerprint_sees_one_changed_pixel(tmp_path):
    ann_file = make_digits(tmp_path, 'val', num_images=1, image_size=96)
    path = tmp_path / read(ann_file)['images'][0]['file_name']
    image = cv2.imread(str(path))
    before = fingerprint(ann_file)
    # Another encoding of the same pixels is the same data …
    cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert fingerprint(ann_file) == before
    image[5, 7, 1] ^= 1
    cv2.imwrite(str(path), image)
    assert fingerprint(ann_file) != before
    # … and a missing image is named.
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        fingerprint(ann_file)


@pytest.fixture
def fork():
    if not hasattr(os, 'fork'):
        pytest.skip('needs os.fork')
    return multiprocessing.get_context('fork')


def _make_and_die(root):
    def progress(done, total):
        if done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    make_digits(root, 'train', num_images=6, progress=progress)


def test_killed_run_leaves_nothing_that_counts(tmp_path, fork):
    process = fork.Process(target=_make_and_die, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    left = [name for name in listing(tmp_path) if name != 'annotations']
    assert len(left) == 1 and left[0].startswith('.unfinished-')
    assert len(list((tmp_path / left[0]).iterdir())) == 3
    assert not list((tmp_path / 'annotations').iterdir())

    ann_file = make_digits(tmp_path, 'train', num_images=6)
    assert fingerprint(ann_file) == read(ann_file)['info']['fingerprint']
    # What was left may belong to a machine whose lock is unseen; once it is
    # old it goes.
    assert (tmp_path / left[0]).exists()
    old = time.time() - 3600
    os.utime(tmp_path / left[0], (old, old))
    make_digits(tmp_path, 'train', num_images=1)
    assert not (tmp_path / left[0]).exists()


def test_failed_run_tidies_up(tmp_path):
    def progress(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_digits(tmp_path, 'val', num_images=2, progress=progress)
    assert listing(tmp_path) == ['annotations']
    assert not list((tmp_path / 'annotations').iterdir())


def test_killed_before_the_copy_is_mended(tmp_path):
    ann_file = make_digits(tmp_path, 'val', num_images=2)
    copy = tmp_path / 'annotations' / 'val.json'
    copy.unlink()
    again = make_digits(tmp_path, 'val', num_images=2, progress=_no_drawing)
    assert again == ann_file
    assert read(copy) == read(ann_file)


def _no_drawing(done, total):
    raise AssertionError('it was drawn again')


def _make_at_once(root, barrier, results):
    drawn = []
    barrier.wait(60)
    ann_file = make_digits(
        root,
        'val',
        num_images=8,
        progress=lambda done, total: drawn.append(done),
    )
    results.put((str(ann_file), len(drawn), fingerprint(ann_file)))


def test_of_many_processes_one_draws(tmp_path, fork):
    barrier, results = fork.Barrier(4), fork.Queue()
    processes = [
        fork.Process(target=_make_at_once, args=(tmp_path, barrier, results))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(drawn for _, drawn, _ in found) == [0, 0, 0, 8]
    assert len({path for path, _, _ in found}) == 1
    assert len({sha for _, _, sha in found}) == 1
    assert len(listing(tmp_path)) == 2


def test_without_locks_the_first_one_wins(tmp_path, monkeypatch):
    """Two nodes on a file system that ignores locks."""
    monkeypatch.setattr(
        digit_files, 'FileLock', lambda path: contextlib.nullcontext()
    )
    first = []

    def progress(done, total):
        if done == 1:
            first.append(make_digits(tmp_path, 'val', num_images=3))

    ann_file = make_digits(tmp_path, 'val', num_images=3, progress=progress)
    assert first == [ann_file]
    assert fingerprint(ann_file) == read(ann_file)['info']['fingerprint']
    assert listing(tmp_path) == ['annotations', ann_file.parent.name]


def test_data_that_is_there_is_not_drawn_again(root):
    before = (root / 'annotations' / 'train.json').stat().st_mtime_ns
    make_digits(root, 'train', num_images=60, progress=_no_drawing)
    after = (root / 'annotations' / 'train.json').stat().st_mtime_ns
    assert before == after


@pytest.mark.parametrize(
    'other', [dict(num_images=3), dict(image_size=96), dict(seed=1)]
)
def test_other_arguments_are_other_data(tmp_path, other):
    arguments = dict(num_images=2, image_size=128, seed=0)
    copy = tmp_path / 'annotations' / 'val.json'
    first = make_digits(tmp_path, 'val', **arguments)
    before = first.read_bytes()
    second = make_digits(tmp_path, 'val', **{**arguments, **other})
    assert second != first
    assert copy.read_bytes() == second.read_bytes()
    parameters = read(copy)['info']['parameters']
    assert {**arguments, **other} == {
        name: parameters[name] for name in arguments
    }
    # The first is still whole for who reads it, and needs no new drawing.
    assert first.read_bytes() == before
    make_digits(tmp_path, 'val', **arguments, progress=_no_drawing)
    assert copy.read_bytes() == before
    assert fingerprint(copy) == read(first)['info']['fingerprint']


def test_other_version_is_other_data(tmp_path, monkeypatch):
    first = make_digits(tmp_path, 'val', num_images=1)
    monkeypatch.setattr(digit_files, 'VERSION', digit_scenes.VERSION + 1)
    assert make_digits(tmp_path, 'val', num_images=1) != first


def test_missing_image_is_drawn_again(tmp_path):
    ann_file = make_digits(tmp_path, 'val', num_images=3)
    (ann_file.parent / '000001.png').unlink()
    make_digits(tmp_path, 'val', num_images=3)
    assert fingerprint(ann_file) == read(ann_file)['info']['fingerprint']


def test_finished_data_may_be_read_only(root):
    """Nothing is written, not even a lock, where nothing is missing."""
    before = {path: path.stat().st_mtime_ns for path in (root, root / '.lock')}
    make_digits(root, 'val', num_images=30)
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize('text', ['{"info": {}}', '[]', 'no JSON'])
def test_foreign_annotations_are_not_written_over(tmp_path, text):
    copy = tmp_path / 'annotations' / 'train.json'
    copy.parent.mkdir()
    copy.write_text(text)
    with pytest.raises(FileExistsError, match='another data_root'):
        make_digits(tmp_path, 'train', num_images=1)
    assert copy.read_text() == text


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(split='test'), ValueError, "'train' or 'val'"),
        (dict(num_images=0), ValueError, 'num_images must be from 1'),
        (dict(image_size=64), ValueError, 'image_size must be from 96'),
        (dict(image_size=160.0), TypeError, 'image_size must be a whole'),
        (dict(seed=-1), ValueError, 'seed must be from 0'),
        (dict(seed=True), TypeError, 'seed must be a whole'),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        make_digits(tmp_path, **{'split': 'val', **arguments})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('module', 'package'),
    [('sklearn.datasets', 'scikit-learn'), ('skimage.data', 'scikit-image')],
)
def test_missing_package_is_named(tmp_path, monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f'pip install {package}'):
        make_digits(tmp_path, 'train', num_images=1)
    assert listing(tmp_path) == ['annotations']
