"""Hooks that ``tools/train.py`` adds to every run to protect its results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook

from luminet_mm.files.atomic import install_backends
from luminet_mm.hooks.checkpoint import SafeCheckpointHook
from luminet_mm.hooks.run_start import RunStartHook
from luminet_mm.registry import HOOKS

# Hooks that every run gets, unless its config already has one of that type.
GUARDS: tuple[dict, ...] = (
    dict(type='luminet_mm.FiniteHook'),
    dict(type='luminet_mm.MissedValidationHook'),
)

_SAVING = ('_save_checkpoint_with_step', '_save_best_checkpoint')


def install_guards(runner: Any, replaced: Sequence[Path] = ()) -> None:
    """Add the hooks to a runner that has not started training.

    Only the runner is changed, not its config: a checkpoint carries the
    config's text, which MMDetection alone must still be able to read.

    Args:
        runner: The runner to add hooks to.
        replaced: Checkpoints of an earlier run in its work
            dir, which are removed when it starts.
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
    """Make a stock checkpoint hook save in an order that loses nothing.

    This also covers a subclass that does not override how it saves.
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
