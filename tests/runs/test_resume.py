"""Where a run begins: every state of a work dir, and several processes."""

import multiprocessing
import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from saved import BREAK, cut, save

from luminet_mm.runs import resume
from luminet_mm.runs.resume import ResumeError, agree, plan_start

CONFIG = dict(
    model=dict(type='A', distill=dict(loss_l=dict(tau=1.0))),
    train_dataloader=dict(batch_size=2),
)


@pytest.fixture
def cfg(tmp_path):
    """A run of three epochs in `work`."""
    cfg = Config(dict(CONFIG, work_dir=str(tmp_path / 'work')))
    text = cfg.pretty_text
    (tmp_path / 'work').mkdir()
    for epoch in (1, 2, 3):
        path = save(tmp_path / f'work/epoch_{epoch}.pth', epoch, config=text)
        (tmp_path / 'work/last_checkpoint').write_text(str(path))
    save(tmp_path / 'work/best_a_epoch_2.pth', 4, optimizer=None)
    return cfg


@pytest.fixture
def warnings(monkeypatch):
    """What was printed."""
    texts = []
    monkeypatch.setattr(
        resume, 'print_log', lambda text, *_: texts.append(text)
    )
    return texts


def start_of(cfg, **flags):
    """The name of the file that a run goes on from."""
    plan_start(cfg, **flags)
    if not cfg.get('resume'):
        return None
    assert cfg.load_from.startswith(str(cfg.work_dir))
    return cfg.load_from.rsplit('/')[-1]


def test_the_last_one_without_a_word(cfg, warnings):
    assert start_of(cfg, anew=True) == 'epoch_3.pth'
    assert warnings == []


def test_a_first_start_begins_where_the_config_says(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path / 'none'), load_from='a.pth'))
    assert plan_start(cfg, anew=True) == plan_start(cfg) == []
    assert (cfg.resume, cfg.load_from) == (False, 'a.pth')


def test_a_config_can_ask_to_resume(cfg):
    cfg.resume = True
    assert start_of(cfg) == 'epoch_3.pth'


def test_starting_over_is_refused(cfg, tmp_path):
    with pytest.raises(ResumeError) as error:
        plan_start(cfg)
    text = str(error.value)
    assert 'work holds 4 checkpoint(s) of a run (best_a_epoch_2.pth, ' in text
    assert all(f'--{f}' in text for f in ('resume', 'work-dir', 'overwrite'))
    replaced = plan_start(cfg, overwrite=True)
    assert len(replaced) == 4 and not cfg.resume
    for path in (tmp_path / 'work').glob('epoch_*'):
        path.unlink()
    with pytest.raises(ResumeError, match=r'1 checkpoint\(s\)'):
        plan_start(cfg)  # the best one is worth as much


@pytest.mark.parametrize('name', [None, '', 'gone/epoch_9.pth'])
def test_last_checkpoint_missing_empty_or_stale(cfg, tmp_path, warnings, name):
    file = tmp_path / 'work/last_checkpoint'
    file.unlink()
    if name is not None:
        file.write_text(name)
    assert start_of(cfg, anew=True) == 'epoch_3.pth'
    assert 'Resuming from the newest complete checkpoint' in warnings[0]
    assert (f'{name} does not exist' if name else 'no last') in warnings[0]


@pytest.mark.parametrize('break_', BREAK)
def test_a_broken_one_is_named_and_passed_over(
    cfg, tmp_path, warnings, break_
):
    broken = tmp_path / 'work/epoch_3.pth'
    break_(broken)
    assert start_of(cfg, anew=True) == 'epoch_2.pth'
    assert str(broken) in warnings[0] and 'epoch 2' in warnings[0]


def test_one_that_was_saved_and_not_named(cfg, tmp_path, warnings):
    """Killed between the renaming and the writing of `last_checkpoint`."""
    text = cfg.pretty_text
    new = save(tmp_path / 'work/epoch_4.pth', 4, second=9, config=text)
    assert start_of(cfg, anew=True) == 'epoch_4.pth'
    cut(new)
    assert start_of(cfg, anew=True) == 'epoch_3.pth'
    # an earlier run's, further on but older, stays what it is
    save(new, 4, second=1)
    assert start_of(cfg, anew=True) == 'epoch_3.pth'


@pytest.mark.parametrize('gone', [True, False], ids=['moved', 'copied'])
def test_a_moved_or_copied_folder(cfg, tmp_path, warnings, gone):
    shutil.copytree(tmp_path / 'work', tmp_path / 'other')
    if gone:
        shutil.rmtree(tmp_path / 'work')
    cfg.work_dir = str(tmp_path / 'other')
    assert start_of(cfg, anew=True) == 'epoch_3.pth'
    assert warnings == []


def test_a_folder_of_checkpoints_outside_the_work_dir(cfg, tmp_path):
    out = tmp_path / 'disk' / 'work'
    out.parent.mkdir()
    (tmp_path / 'work').rename(out)
    (tmp_path / 'work').mkdir()
    last = tmp_path / 'work/last_checkpoint'
    last.write_text(str(out / 'epoch_2.pth'))
    cfg.default_hooks = dict(checkpoint=dict(out_dir=str(out.parent)))
    with pytest.raises(ResumeError, match='4 checkpoint'):
        plan_start(cfg)
    plan_start(cfg, anew=True)
    assert cfg.load_from == str(out / 'epoch_3.pth')
    last.write_text(str('gone' / out / 'epoch_3.pth'))
    plan_start(cfg, anew=True)
    assert cfg.load_from == str(out / 'epoch_3.pth')


def test_nothing_whole_is_not_a_first_start(cfg, tmp_path):
    for path in (tmp_path / 'work').glob('epoch_*'):
        cut(path)
    with pytest.raises(ResumeError) as error:
        plan_start(cfg, anew=True)
    assert 'epoch_1.pth is cut short' in str(error.value)
    assert '--overwrite starts over' in str(error.value)
    assert len(plan_start(cfg, anew=True, overwrite=True)) == 4
    assert not cfg.resume


def test_a_run_whose_checkpoints_are_gone_is_not_a_first_start(cfg, tmp_path):
    for path in (tmp_path / 'work').glob('*.pth'):
        path.unlink()
    with pytest.raises(ResumeError, match=r'epoch_3\.pth does not exist'):
        plan_start(cfg, anew=True)


def test_checkpoints_without_an_optimizer_say_so(cfg, tmp_path):
    for path in (tmp_path / 'work').glob('epoch_*'):
        save(path, optimizer=None)
    with pytest.raises(ResumeError, match='epoch_2.pth holds no optimizer'):
        plan_start(cfg, anew=True)


def test_a_named_file(cfg, tmp_path):
    path = tmp_path / 'work/epoch_2.pth'
    cfg.resume, cfg.load_from = True, str(path)
    assert plan_start(cfg) == []
    assert cfg.load_from == str(path)

    save(path, optimizer=None, message_hub=None)
    with pytest.raises(ResumeError) as error:
        plan_start(cfg)
    assert 'no message_hub, optimizer' in str(error.value)
    assert f'--cfg-options load_from={path}' in str(error.value)

    cut(path)
    with pytest.raises(ResumeError, match=r'cut short.*--resume without one'):
        plan_start(cfg)


def test_a_file_of_another_run_does_not_replace_this_one(cfg, tmp_path):
    other = save(tmp_path / 'epoch_9.pth', config=cfg.pretty_text)
    cfg.resume, cfg.load_from = True, str(other)
    with pytest.raises(ResumeError, match='epoch_9.pth is not one of them'):
        plan_start(cfg)
    assert len(plan_start(cfg, overwrite=True)) == 4
    cfg.work_dir = str(tmp_path / 'new')
    assert plan_start(cfg) == []
    assert cfg.load_from == str(other)


def test_other_storage_is_left_to_mmengine(cfg, tmp_path):
    (tmp_path / 'work/last_checkpoint').write_text('s3://a/epoch_3.pth')
    plan_start(cfg, anew=True)
    assert cfg.load_from == 's3://a/epoch_3.pth'
    plan_start(cfg)
    assert cfg.load_from == 's3://a/epoch_3.pth'


def test_another_config_is_refused_or_allowed(cfg, warnings):
    cfg.model.distill.loss_l.tau = 2.0
    cfg.train_dataloader.num_workers = 4
    cfg.train_cfg = dict(max_epochs=9)
    with pytest.raises(ResumeError) as error:
        plan_start(cfg, anew=True)
    text = str(error.value)
    assert 'model.distill.loss_l.tau: 1.0 then, 2.0 now\n' in text
    assert '--allow-changes' in text and 'load_from=' in text
    assert 'num_workers' not in text and 'max_epochs' not in text
    assert start_of(cfg, anew=True, allow_changes=True) == 'epoch_3.pth'
    assert 'tau: 1.0 then' in warnings[0] and 'max_epochs' in warnings[0]


def test_another_number_of_processes_is_another_batch(cfg, monkeypatch):
    path = save(f'{cfg.work_dir}/epoch_4.pth', 4, config=cfg.pretty_text)
    content = torch.load(path)
    content['meta']['world_size'] = 2
    torch.save(content, path)
    with pytest.raises(ResumeError, match='processes: 4 then, 2 now'):
        plan_start(cfg, anew=True)
    cfg.launcher = 'slurm'
    monkeypatch.setenv('SLURM_NTASKS', '2')
    assert start_of(cfg, anew=True) == 'epoch_4.pth'


def test_a_config_that_is_code_is_not_compared(cfg, tmp_path, warnings):
    save(
        tmp_path / 'work/epoch_3.pth',
        second=20,
        config=f'open({str(tmp_path / "opened")!r}, "w")',
    )
    assert start_of(cfg, anew=True) == 'epoch_3.pth'
    assert 'not compared' in warnings[0]
    assert not (tmp_path / 'opened').exists()


def _agreed(rank):
    cfg = Config(dict(resume=rank == 0, load_from=f'{rank}.pth'))
    runner = SimpleNamespace(cfg=cfg, _resume=None, _load_from='x')
    agree(runner, cfg)
    return runner._resume, runner._load_from, cfg.resume, cfg.load_from


def _rank(rank, folder):
    dist.init_process_group(
        'gloo', f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    (folder / f'{rank}').write_text(repr(_agreed(rank)))
    dist.barrier()


def test_every_process_begins_where_the_first_one_decided(tmp_path):
    # forked: a new process takes ten seconds to import everything
    context = multiprocessing.get_context('fork')
    ranks = [
        context.Process(target=_rank, args=(rank, tmp_path), daemon=True)
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    told = [(tmp_path / f'{rank}').read_text() for rank in range(2)]
    assert told == [repr((True, '0.pth', True, '0.pth'))] * 2


def test_one_process_decides_alone():
    assert _agreed(0) == (True, '0.pth', True, '0.pth')
