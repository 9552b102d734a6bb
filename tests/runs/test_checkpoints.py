"""The newest checkpoint that is whole, among broken, moved and other ones."""

import os

import pytest
import torch
from saved import BREAK, save

from luminet_mm.files.errors import UnsafeCheckpointError
from luminet_mm.runs.checkpoints import (
    BrokenError,
    NoRunError,
    check_whole,
    newest,
    read_head,
    written_checkpoints,
)


def test_a_head_tells_of_the_run(tmp_path):
    head = read_head(save(tmp_path / 'a.pth', 3, config='a = 1\n'))
    assert (head.epoch, head.iter, head.config) == (3, 30, 'a = 1\n')
    check_whole(head.path)


@pytest.mark.parametrize('break_', BREAK)
def test_a_broken_file_is_noticed(tmp_path, break_):
    path = save(tmp_path / 'epoch_1.pth')
    break_(path)
    with pytest.raises(BrokenError):
        read_head(path)
        check_whole(path)


@pytest.mark.parametrize(
    'key', ['optimizer', 'message_hub', 'state_dict', 'meta']
)
def test_a_file_of_weights_is_not_a_run(tmp_path, key):
    path = tmp_path / 'best.pth'
    content = torch.load(save(path))
    del content[key]
    torch.save(content, path)
    with pytest.raises(NoRunError, match=rf'holds no .*{key}'):
        read_head(path)


def test_a_hostile_file_is_not_run(tmp_path):
    class Door:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'opened'),)

    path = save(tmp_path / 'epoch_1.pth', door=Door())
    with pytest.raises(UnsafeCheckpointError):
        read_head(path)
    assert read_head(path, trust=True).path == path
    head, faults = newest([path])
    assert head is None and 'mkdir' in faults[path]
    assert not (tmp_path / 'opened').exists()


@pytest.mark.parametrize('break_', BREAK)
def test_the_newest_whole_one_is_found(tmp_path, break_):
    paths = [save(tmp_path / f'epoch_{n}.pth', n) for n in (9, 10, 11)]
    best = save(tmp_path / 'best_a_epoch_12.pth', 12, optimizer=None)
    break_(paths[2])
    head, faults = newest([*paths, best])
    assert head.path == paths[1]
    assert list(faults) == [paths[2]]


def test_newest_is_by_what_was_saved_last(tmp_path):
    """Not by file times, nor by the epoch of an earlier, longer run."""
    old = save(tmp_path / 'epoch_12.pth', 12, second=1)
    new = save(tmp_path / 'epoch_2.pth', 2, second=2)
    os.utime(new, (0, 0))
    assert newest([old, new])[0].path == new
    same = save(tmp_path / 'epoch_3.pth', 3, second=2)
    assert newest([same, new])[0].path == same


def test_a_runs_checkpoints_are_told_from_other_files(tmp_path):
    for name in ('epoch_1.pth', 'iter_20.pth', 'best_x_epoch_1.pth'):
        (tmp_path / name).touch()
    written = set(written_checkpoints([tmp_path]))
    for name in ('resnet50.pth', 'epoch_1.txt', '.epoch_2.pth.7.part'):
        (tmp_path / name).touch()
    assert set(written_checkpoints([tmp_path])) == written
    (tmp_path / 'step7.pth').touch()
    assert len(written_checkpoints([tmp_path], 'step{}.pth')) == 4
    (tmp_path / 'last_checkpoint').write_text('resnet50.pth')
    assert len(written_checkpoints([tmp_path])) == 4
