"""Train or distil a model: ``python tools/train.py CONFIG``."""

from __future__ import annotations

import argparse

from mmengine.config import Config

from luminet_mm.later import Later
from luminet_mm.launch.command_line import (
    add_arguments,
    add_checkpoint_flags,
    load_config,
)
from luminet_mm.launch.console import reported
from luminet_mm.launch.parent import tell_launcher
from luminet_mm.runs.launchers import LaunchError

# what takes seconds to import, when it is needed
guards = Later('luminet_mm.launch.guards')
processes = Later('luminet_mm.launch.processes')
runners = Later('luminet_mm.launch.runner')
preflight = Later('luminet_mm.preflight')
resume = Later('luminet_mm.runs.resume')
work_dir = Later('luminet_mm.runs.work_dir')


def parse_args() -> argparse.Namespace:
    """Read the command line; the flags are MMDetection's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_arguments(parser)
    parser.add_argument(
        '--amp', action='store_true', help='automatic mixed precision'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the actual batch size over '
        'auto_scale_lr.base_batch_size of the config',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue from this checkpoint; without a value, from the newest '
        'intact one in the work dir',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='start over in a work dir that holds checkpoints; they are '
        'removed when training starts',
    )
    parser.add_argument(
        '--allow-changes',
        action='store_true',
        help='with --resume: continue although model, data or batch size '
        "differ from the checkpoint's config",
    )
    add_checkpoint_flags(parser)
    return parser.parse_args()


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Write the training flags into the config.

    Raises:
        LaunchError: If a flag needs what the config lacks.
    """
    if args.amp:
        processes.set_amp(cfg)
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise LaunchError(
                '--auto-scale-lr needs auto_scale_lr=dict(enable=False, '
                'base_batch_size=...) in the config: the batch size that its '
                'learning rate is for.'
            )
        cfg.auto_scale_lr.enable = True
    work_dir.apply_flags(cfg, args)


def main() -> None:
    """Check everything that can be checked, then train."""
    args = parse_args()
    with reported(args):
        cfg = load_config(args)
        tell_launcher(cfg.work_dir)
        preflight.check_text(
            cfg, known=args.faults, starts=args.resume is None
        )
        apply_flags(cfg, args)
        preflight.check_config(cfg)
        with work_dir.work_dir_of(cfg, args) as replaced:
            runner = runners.build_runner(
                cfg, args.trust, args.allow_partial, last_layer=True, args=args
            )
            guards.install_guards(runner, replaced)
            resume.agree(runner, cfg)
            runner.train()


if __name__ == '__main__':
    main()
