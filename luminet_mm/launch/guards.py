"""What ``tools/train.py`` adds to every run so that it cannot be lost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook

from luminet_mm.files.atomic import install_backends
from luminet_mm.hooks.checkpoint import SafeCheckpointHook
from luminet_mm.hooks.run_start import RunStartHook
from luminet_mm.registry import HOOKS

# Hooks that every run gets, unless its config has one of that type already.
GUARDS: tuple[dict, ...] = (dict(type='luminet_mm.FiniteHook'),)

_SAVING = ('_save_checkpoint_with_step', '_save_best_checkpoint')


def install_guards(runner: Any, replaced: Sequence[Path] = ()) -> None:
    """Protect a run that is built and does not train yet.

    The runner is changed and not its config: a checkpoint carries the
    config's text, and that stays one for MMDetection alone.

    Args:
        runner (:obj:`mmengine.runner.Runner`): Its hooks are completed.
        replaced (Sequence[Path]): Checkpoints of an earlier run in its work
            dir, which go when it starts.
    """
    install_backends()
    for hook in runner.hooks:
        _make_safe(hook)
    runner.register_hook(RunStartHook(list(replaced)))
    for guard in GUARDS:
        kind = HOOKS.get(guard['type'])
        if not any(isinstance(hook, kind) for hook in runner.hooks):
            runner.register_hook(HOOKS.build(dict(guard)))


def _make_safe(hook: Any) -> None:
    """Let a stock hook of checkpoints save in the order that loses nothing.

    Also an instance of a subclass, as long as that saves as the stock one.
    """
    kind = type(hook)
    if not issubclass(kind, CheckpointHook):
        return
    if any(
        getattr(kind, n) is not getattr(CheckpointHook, n) for n in _SAVING
    ):
        return
    bases = (SafeCheckpointHook, kind)
    hook.__class__ = (
        SafeCheckpointHook
        if kind is CheckpointHook
        else type(kind.__name__, bases, {})
    )
