"""A run's folder: one run at a time, and nothing of another left in it."""

from argparse import Namespace

import pytest
from mmengine.config import Config
from saved import save

from luminet_mm.files.atomic import WriteError
from luminet_mm.files.lock import hold
from luminet_mm.runs.resume import ResumeError
from luminet_mm.runs.work_dir import LOCK, apply_flags, clear, work_dir_of


@pytest.fixture
def cfg(tmp_path):
    return Config(dict(work_dir=str(tmp_path / 'work'), load_from='start.pth'))


def flags(resume=None, overwrite=False):
    return Namespace(resume=resume, overwrite=overwrite, allow_changes=False)


def test_a_named_checkpoint_is_where_the_run_goes_on(cfg):
    apply_flags(cfg, flags('a.pth'))
    assert cfg.resume is True and cfg.load_from == 'a.pth'


@pytest.mark.parametrize(
    'overwrite, saved, expected',
    [
        (False, False, 'start.pth'),
        (False, True, None),  # where the run once began may be gone
        (True, True, 'start.pth'),
    ],
)
def test_where_a_run_once_began(cfg, tmp_path, overwrite, saved, expected):
    (tmp_path / 'work').mkdir()
    if saved:
        save(tmp_path / 'work/epoch_1.pth')
    apply_flags(cfg, flags('auto', overwrite))
    assert cfg.load_from == expected


def test_a_second_run_is_told_who_is_there(cfg, tmp_path):
    with hold(tmp_path / 'work' / LOCK):
        with pytest.raises(ResumeError, match='Another run is using'):
            with work_dir_of(cfg, flags()):
                raise AssertionError('it began')
    with work_dir_of(cfg, flags()) as replaced:
        assert replaced == []


def test_only_the_first_process_decides(cfg, tmp_path, monkeypatch):
    cfg.launcher = 'pytorch'
    monkeypatch.setenv('RANK', '1')
    with hold(tmp_path / 'work' / LOCK):
        with work_dir_of(cfg, flags()) as replaced:
            assert replaced == []


def test_what_a_killed_writer_left_goes(cfg, tmp_path):
    part = tmp_path / 'work/.epoch_1.pth.123.part'
    part.parent.mkdir()
    part.touch()
    with work_dir_of(cfg, flags()):
        assert not part.exists()


def test_a_full_disk_is_named_whoever_writes(cfg):
    with pytest.raises(WriteError, match='work'):
        with work_dir_of(cfg, flags()):
            raise OSError(28, 'No space left on device')
    with pytest.raises(RuntimeError, match='something else'):
        with work_dir_of(cfg, flags()):
            raise RuntimeError('something else')


def test_an_old_run_is_cleared_and_its_logs_set_aside(tmp_path):
    old = [save(tmp_path / f'epoch_{i}.pth') for i in (1, 2)]
    kept = save(tmp_path / 'mine.pth')
    for name in ('last_checkpoint', 'finished'):
        (tmp_path / name).touch()
    for run in ('old', 'new'):
        (tmp_path / run / 'vis_data').mkdir(parents=True)
    clear(tmp_path, old, tmp_path / 'new')
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {kept.name, 'new', 'overwritten'}
    assert (tmp_path / 'overwritten/old/vis_data').is_dir()
    clear(tmp_path, old, tmp_path / 'new')  # nothing is left to do
