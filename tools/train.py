"""Train or distil a model: ``python tools/train.py CONFIG``."""

import argparse

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from luminet_mm.launch import (
    LaunchError,
    add_arguments,
    build_runner,
    load_config,
)
from luminet_mm.preflight import check_config
from luminet_mm.runs.console import reported
from luminet_mm.runs.guards import install_guards
from luminet_mm.runs.weights import add_flags


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
        help='scale the learning rate by the real batch size over '
        'auto_scale_lr.base_batch_size of the config',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; without a value from the latest '
        'one in the work dir',
    )
    add_flags(parser)
    return parser.parse_args()


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Write the flags of training into the config.

    Raises:
        LaunchError: If a flag needs what the config lacks.
    """
    if args.amp and cfg.optim_wrapper.get('type') != 'AmpOptimWrapper':
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise LaunchError(
                '--auto-scale-lr needs auto_scale_lr=dict(enable=False, '
                'base_batch_size=...) in the config: the batch size that its '
                'learning rate was chosen for.'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume == 'auto':
        found = find_latest_checkpoint(cfg.work_dir)
        # a first start begins where the config says
        cfg.resume = found is not None or not cfg.get('load_from')
        cfg.load_from = None if cfg.resume else cfg.load_from
    elif args.resume is not None:
        cfg.resume = True
        cfg.load_from = args.resume


def main() -> None:
    """Check everything that can be checked, then train."""
    args = parse_args()
    with reported(args):
        cfg = load_config(args)
        apply_flags(cfg, args)
        check_config(cfg)
        runner = build_runner(
            cfg, args.trust, args.allow_partial, last_layer=True, args=args
        )
        install_guards(runner)
        runner.train()


if __name__ == '__main__':
    main()
