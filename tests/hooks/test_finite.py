"""FiniteHook: what is NaN stops the run before it is saved."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from ranks import run_ranks
from tiny_cls import classifier, runner, validation
from torch import nn

from luminet_mm.hooks.finite import FiniteHook
from luminet_mm.runs.not_finite import NotFiniteStepError, weights_message

NAN, INF = float('nan'), float('inf')
GUARD = dict(type='luminet_mm.FiniteHook')
CHECKPOINT = dict(type='CheckpointHook', interval=1)


def guarded(work_dir, **kwargs):
    return runner(classifier(), work_dir, custom_hooks=[GUARD], **kwargs)


def at_iterations(*steps):
    """The batches, counted from 1; 4 are an epoch."""
    count = iter(range(1, 10**6))
    return lambda: next(count) in steps


def break_loss(run, now, value=NAN, name='loss_other'):
    """Add a loss that is 0, and broken at some iterations."""
    model, loss = run.model, run.model.loss

    def broken(*args, **kwargs):
        losses = loss(*args, **kwargs)
        factor = value if now() else 0.0
        return {**losses, name: factor * losses['loss']}

    model.loss = broken


def break_gradient(run, now, value=NAN):
    weight = run.model.head.fc.weight
    weight.register_hook(lambda grad: grad * value if now() else grad)


def break_weight(run, now):
    """After the step, as the gradient of an unused part might."""

    class Break(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if now():
                with torch.no_grad():
                    runner.model.head.fc.bias[1] = INF

    run.register_hook(Break())


def saved(work_dir):
    """Names of the checkpoints, all of which have to be finite."""
    for path in Path(work_dir).glob('*.pth'):
        state = torch.load(path, weights_only=False)['state_dict']
        assert all(torch.isfinite(value).all() for value in state.values())
    return sorted(path.name for path in Path(work_dir).glob('*.pth'))


@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, value):
    run = guarded(tmp_path)
    break_loss(run, at_iterations(6), value)
    with pytest.raises(NotFiniteStepError) as error:
        run.train()
    text = str(error.value)
    assert text.startswith(f'iteration 6: loss_other is {value}. The run was')
    assert f'The last good checkpoint is {tmp_path}/epoch_1.pth.' in text
    assert saved(tmp_path) == ['epoch_1.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    # the log shows the step that broke
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    assert '"loss_other": NaN' in log.read_text() or 'Infinity' in (
        log.read_text()
    )


def test_the_last_good_checkpoint_of_a_moved_folder(tmp_path):
    (tmp_path / 'epoch_1.pth').touch()
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    runner = SimpleNamespace(work_dir=str(tmp_path))
    text = weights_message(runner, 3, ['head.fc.bias'])
    assert f'checkpoint is {tmp_path}/epoch_1.pth.' in text


def test_in_the_first_step_there_is_no_checkpoint(tmp_path):
    run = guarded(tmp_path)
    break_loss(run, at_iterations(1))
    with pytest.raises(
        NotFiniteStepError, match='No checkpoint had been saved'
    ):
        run.train()


def test_what_is_logged_and_is_no_loss_may_be_anything(tmp_path):
    run = guarded(tmp_path, max_epochs=1)
    break_loss(run, at_iterations(2, 3), name='accuracy')
    run.train()
    assert saved(tmp_path) == ['epoch_1.pth']


def test_a_gradient_ends_the_run_where_it_is_clipped(tmp_path):
    clip = dict(
        optimizer=dict(type='SGD', lr=0.01), clip_grad=dict(max_norm=35)
    )
    run = guarded(tmp_path, optim_wrapper=clip)
    break_gradient(run, at_iterations(6))
    with pytest.raises(
        NotFiniteStepError, match='iteration 6: grad_norm is nan'
    ):
        run.train()
    assert saved(tmp_path) == ['epoch_1.pth']


def test_a_gradient_that_nobody_measures_shows_in_the_next_loss(tmp_path):
    run = guarded(tmp_path)
    break_gradient(run, at_iterations(6))
    with pytest.raises(NotFiniteStepError, match='iteration 7: loss is nan'):
        run.train()
    assert saved(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize(
    ('settings', 'kept'),
    [
        ({}, ['epoch_1.pth']),
        (
            dict(checkpoint=dict(CHECKPOINT, by_epoch=False, interval=2)),
            ['iter_2.pth', 'iter_4.pth', 'iter_6.pth'],
        ),
        (
            dict(checkpoint=dict(CHECKPOINT, save_best='auto', interval=9)),
            ['best_accuracy_top1_epoch_1.pth'],
        ),
    ],
)
def test_weights_are_checked_before_each_checkpoint(tmp_path, settings, kept):
    """At the last iteration, whose losses say nothing yet."""
    run = guarded(tmp_path, default_hooks=settings, **validation())
    break_weight(run, at_iterations(8))
    with pytest.raises(NotFiniteStepError) as error:
        run.train()
    text = str(error.value)
    assert 'weights are NaN or infinite: head.fc.bias. The run' in text
    assert text.startswith('iteration 8: ')
    assert saved(tmp_path) == kept


def test_averaged_weights_are_checked_where_they_are_written(tmp_path):
    run = runner(
        classifier(),
        tmp_path,
        custom_hooks=[GUARD, dict(type='EMAHook')],
    )

    class Break(Hook):
        priority = 'NORMAL'

        def after_train_epoch(self, runner):
            (ema,) = [h for h in runner.hooks if hasattr(h, 'ema_model')]
            if runner.epoch == 1:
                ema.ema_model.module.head.fc.bias.data.fill_(NAN)

    run.register_hook(Break())
    with pytest.raises(
        NotFiniteStepError, match='infinite: head.fc.bias. The'
    ):
        run.train()
    assert saved(tmp_path) == ['epoch_1.pth']


@OPTIM_WRAPPERS.register_module(force=True)
class ScaledWrapper(OptimWrapper):
    """Skips what overflows, as AmpOptimWrapper does on a GPU."""

    loss_scaler = SimpleNamespace(is_enabled=lambda: True)

    def step(self, **kwargs):
        grads = [p.grad for g in self.param_groups for p in g['params']]
        if all(torch.isfinite(grad).all() for grad in grads):
            super().step(**kwargs)


def test_a_scaler_may_skip_steps_but_not_for_ever(tmp_path):
    wrapper = dict(type='ScaledWrapper', optimizer=dict(type='SGD', lr=0.01))
    run = runner(
        classifier(),
        tmp_path,
        optim_wrapper=wrapper,
        custom_hooks=[dict(GUARD, patience=3)],
    )
    break_loss(run, at_iterations(1, 2, 4, 6, 7, 8))
    with pytest.raises(NotFiniteStepError) as error:
        run.train()
    text = str(error.value)
    assert text.startswith('iteration 8: loss_other is nan, and the 2 steps')
    assert 'bfloat16' in text
    assert saved(tmp_path) == ['epoch_1.pth']


@OPTIM_WRAPPERS.register_module(force=True)
class ClippedWrapper(OptimWrapper):
    """Likewise; the norm is logged before."""

    loss_scaler = ScaledWrapper.loss_scaler

    def step(self, **kwargs):
        self._clip_grad()
        grads = [p.grad for g in self.param_groups for p in g['params']]
        if all(torch.isfinite(grad).all() for grad in grads):
            self.optimizer.step(**kwargs)


def accumulated(work_dir, patience, kind='ClippedWrapper', **kwargs):
    wrapper = dict(
        type=kind,
        optimizer=dict(type='SGD', lr=0.01),
        accumulative_counts=4,
        clip_grad=dict(max_norm=35),
    )
    return runner(
        classifier(),
        work_dir,
        optim_wrapper=wrapper,
        custom_hooks=[dict(GUARD, patience=patience)],
        max_epochs=3,
        **kwargs,
    )


@pytest.mark.parametrize('deferred', [False, True])
def test_a_skipped_step_counts_once_while_gradients_add_up(
    tmp_path, deferred, monkeypatch
):
    """Until the next one its norm is the last in the log."""
    if deferred:
        as_on_a_gpu(monkeypatch)
    run = accumulated(tmp_path, patience=2)
    break_gradient(run, at_iterations(2), INF)
    run.train()
    norms = run.message_hub.log_scalars['train/grad_norm'].data[0]
    assert [*map(math.isfinite, norms)] == [False, True, True]


@pytest.mark.parametrize('when', [(1, 5, 9), (1, 2, 3, 7, 9)])
def test_patience_counts_optimizer_steps(tmp_path, when):
    """Whichever of its iterations broke, and with finite ones after it."""
    run = accumulated(tmp_path / 'a', patience=3)
    break_loss(run, at_iterations(*when))
    with pytest.raises(NotFiniteStepError) as error:
        run.train()
    text = str(error.value)
    assert text.startswith('iteration 12: ')
    assert 'loss_other is nan' in text and 'the 2 steps before it' in text
    run = accumulated(tmp_path / 'b', patience=3, kind='ScaledWrapper')
    break_loss(run, at_iterations(*(i for i in when if not 5 <= i <= 8)))
    run.train()


def test_a_norm_of_the_run_before_is_not_counted(tmp_path):
    """A checkpoint keeps the log, whose last norm may be a skipped step's."""
    run = accumulated(tmp_path, patience=1)

    class Resumed(Hook):
        priority = 'VERY_HIGH'

        def before_train(self, runner):
            runner.message_hub.update_scalar('train/grad_norm', INF)

    run.register_hook(Resumed())
    run.train()


def test_accumulated_gradients(tmp_path):
    wrapper = dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=4)
    run = guarded(tmp_path, optim_wrapper=wrapper)
    break_loss(run, at_iterations(6))
    with pytest.raises(NotFiniteStepError, match='iteration 6: loss_other'):
        run.train()


def test_a_run_that_is_sound_is_what_it_was(tmp_path):
    for name, hooks in (('with', [GUARD]), ('without', [])):
        runner(classifier(), tmp_path / name, custom_hooks=hooks).train()
    one, other = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=False)
        for name in ('with', 'without')
    )
    for part in ('state_dict', 'optimizer'):
        torch.testing.assert_close(one[part], other[part], rtol=0, atol=0)


def test_constants_of_minus_infinity_stay(tmp_path):
    run = guarded(tmp_path, max_epochs=1)
    run.model.register_buffer('mask', torch.tensor([0.0, -INF]))
    run.train()
    assert (tmp_path / 'epoch_1.pth').is_file()


def as_on_a_gpu(monkeypatch):
    event = SimpleNamespace(synchronize=lambda: None)
    monkeypatch.setattr(FiniteHook, '_deferred', staticmethod(lambda _: True))
    monkeypatch.setattr(
        FiniteHook, '_start_copy', staticmethod(lambda v: (v, event))
    )


def test_on_a_gpu_the_values_are_read_one_step_later(tmp_path, monkeypatch):
    as_on_a_gpu(monkeypatch)
    run = guarded(tmp_path / 'a', max_epochs=1)
    break_loss(run, at_iterations(2))
    with pytest.raises(NotFiniteStepError, match='iteration 2: loss_other'):
        run.train()
    assert run.iter == 2, 'counted from 0: it is the third'
    # nothing is pending when a checkpoint is saved
    run = guarded(tmp_path / 'b', max_epochs=1)
    break_loss(run, at_iterations(4))
    with pytest.raises(NotFiniteStepError, match='iteration 4: loss_other'):
        run.train()
    assert saved(tmp_path / 'b') == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_step_does_not_wait_for_the_gpu(tmp_path):
    hook = FiniteHook()
    run = fake_runner(tmp_path, 'cuda')
    torch.cuda.set_sync_debug_mode('error')
    try:
        for run.iter in range(3):
            hook.after_train_iter(run, 0, None, losses_of(1.0, 'cuda'))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    hook.after_train_iter(run, 0, None, losses_of(NAN, 'cuda'))
    with pytest.raises(NotFiniteStepError):
        hook.after_train_epoch(run)


@pytest.mark.parametrize('patience', [0, -1, 1.5, True, None])
def test_patience_is_a_number_of_steps(patience):
    with pytest.raises(ValueError, match='FiniteHook.patience='):
        FiniteHook(patience=patience)


# --- these run in the processes ---


def fake_runner(work_dir, device='cpu'):
    return SimpleNamespace(
        iter=0,
        hooks=[],
        model=nn.Linear(2, 2).to(device),
        work_dir=str(work_dir),
        optim_wrapper=SimpleNamespace(),
    )


def losses_of(value, device='cpu'):
    value = torch.tensor(value, device=device)
    return dict(loss=value, loss_rpn=value, acc=value)


def on_rank(rank, world_size, folder):
    """Each run's message; only the second process has the broken value."""
    hook, run, found = FiniteHook(), fake_runner(folder), []
    for run.iter in range(3):
        broken = rank == 1 and run.iter == 1
        try:
            hook.after_train_iter(
                run, 0, None, losses_of(NAN if broken else 1.0)
            )
        except NotFiniteStepError as error:
            found.append((run.iter, str(error)))
    if rank == 1:
        run.model.weight.data.fill_(INF)
    try:
        hook.after_train_epoch(run)
    except NotFiniteStepError as error:
        found.append((run.iter, str(error)))
    return found


def test_all_processes_stop_together(tmp_path):
    one, other = run_ranks(on_rank, 2, str(tmp_path))
    assert one == other
    (step, loss), (last, weights) = one
    assert step == 1 and loss.startswith('iteration 2: loss_rpn is nan')
    assert last == 2
    assert weights.startswith('iteration 3: weights are NaN or infinite: we')
