"""Build a tool's runner: process group, safe loading, console output."""

from __future__ import annotations

import argparse
import functools
import gc

from mmengine.config import Config
from mmengine.runner import Runner

from luminet_mm.hooks.weights import WeightsHook
from luminet_mm.launch.processes import check_amp, start_processes
from luminet_mm.launch.quiet import make_runner
from luminet_mm.loading.strict import install_strict_loading

STOCK_HOOKS = (
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
)


def build_runner(
    cfg: Config,
    trust: bool = False,
    allow_partial: bool = False,
    last_layer: bool = False,
    args: argparse.Namespace | None = None,
) -> Runner:
    """Start the process group if MMEngine cannot; build the runner.

    Args:
        cfg: The whole config.
        trust: Load checkpoints that may run code.
        allow_partial: Accept checkpoints that fit only partly.
        last_layer: Whether a classifier's last layer may differ from
            that of ``load_from``.
        args: The command line, for the console.
    """
    check_amp(cfg)
    start_processes(cfg)
    install_strict_loading(trust, allow_partial)
    _leave_out_hooks(cfg)
    _keep_modules()
    runner = make_runner(
        cfg, getattr(args, 'verbose', False), getattr(args, 'config', None)
    )
    runner.register_hook(
        WeightsHook(
            f'checkpoint {cfg.get("load_from") or cfg.work_dir!r}',
            allow_partial,
            last_layer,
        )
    )
    return runner


@functools.cache
def _keep_modules() -> None:
    """Have no garbage collection look through all imported modules again.

    MMEngine collects for each data set, 0.4 s each time, and workers that
    load data are forks, which then share the modules' memory for longer.
    """
    gc.freeze()


def _leave_out_hooks(cfg: Config) -> None:
    """Let None switch any default hook off, as it does MMEngine's own."""
    hooks: dict = cfg.get('default_hooks') or {}
    for name in [key for key, hook in hooks.items() if hook is None]:
        if name not in STOCK_HOOKS:
            del hooks[name]
