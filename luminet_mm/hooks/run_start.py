"""RunStartHook: checks that need a fully built run."""

from pathlib import Path

from mmengine.hooks import Hook

from luminet_mm.loading.weights import unwrapped
from luminet_mm.registry import HOOKS
from luminet_mm.runs.changes import teacher_files
from luminet_mm.runs.resume import ResumeError
from luminet_mm.runs.work_dir import clear


@HOOKS.register_module()
class RunStartHook(Hook):
    """Compare a resumed checkpoint with the model; clear the folder.

    ``tools/train.py`` adds it to every run.

    Args:
        replaced: Checkpoints of an earlier run in this work dir
            that this run replaces; they are removed when training starts.

    Raises:
        ResumeError: If the checkpoint to resume from is of another model.
    """

    # before EMA loads its own weights, and WeightsHook says what fits
    priority = 'HIGHEST'

    def __init__(self, replaced: list[Path] | None = None) -> None:
        self.replaced = replaced or []
        self._teachers: list[str | None] = []

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        if runner.cfg.get('resume'):
            _check_model(runner, checkpoint.get('state_dict') or {})

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        # the config has the batch size of one process, and file names
        checkpoint['meta'].update(
            world_size=runner.world_size, teachers=self._teachers
        )

    def before_train(self, runner) -> None:
        # now: the files may have changed when a checkpoint is saved
        self._teachers = teacher_files(runner.cfg)
        _compare_lengths(runner)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None):
        # the first batch is there: until now the old run was untouched
        if self.replaced:
            used = _files_of(runner.cfg)
            clear(
                Path(runner.work_dir),
                [p for p in self.replaced if str(p.resolve()) not in used],
                Path(runner.log_dir),
            )
            self.replaced = []


def _check_model(runner, state: dict) -> None:
    """Refuse weights of another model; its optimizer would not fit either.

    MMEngine itself continues with random weights instead.
    """
    model = unwrapped(runner.model)
    own = model.state_dict()
    state = {key.removeprefix('module.'): v for key, v in state.items()}
    trained = {name for name, _ in model.named_parameters()}
    missing = [key for key in own if key not in state and key in trained]
    unknown = [key for key in state if key not in own]
    shapes = [
        f'{key}: {tuple(state[key].shape)} there, {tuple(value.shape)} now'
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    found = [
        f'{what} {", ".join(keys[:3])}{", ..." if len(keys) > 3 else ""}'
        for what, keys in (
            ('it lacks', missing),
            ('the model has no', unknown),
            ('the shapes differ:', shapes),
        )
        if keys
    ]
    if found:
        file = runner.cfg.get('load_from')
        raise ResumeError(
            f'{file} is of another model: {"; ".join(found)}. Its optimizer '
            'does not fit this one either. To begin a new run with the '
            'weights that fit, leave --resume out, give another --work-dir '
            f'and --cfg-options load_from={file}.'
        )


def _compare_lengths(runner) -> None:
    """Warn if an epoch has a different number of steps than before."""
    epoch, done = runner.epoch, runner.iter
    if (
        not epoch
        or not done
        or getattr(runner.train_loop, 'max_epochs', 0) < 2
    ):
        return
    steps = len(runner.train_dataloader)
    if steps * epoch != done:
        runner.logger.warning(
            'An epoch has %d steps, but had %g in the resumed run: '
            'the number of processes, the batch size or the images changed. '
            'Schedules by iteration and the learning rate were set for the '
            'old number.',
            steps,
            done / epoch,
        )


def _files_of(node) -> set[str]:
    """Every string of a config that is a path, resolved."""
    if isinstance(node, str):
        return {str(Path(node).resolve())} if len(node) < 1000 else set()
    if isinstance(node, (list, tuple)):
        return set().union(*map(_files_of, node))
    if hasattr(node, 'values'):
        return set().union(*map(_files_of, node.values()))
    return set()
