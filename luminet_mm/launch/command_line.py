"""The tools' command line: shared flags, and the config that they change."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmengine.config import Config, DictAction

from luminet_mm.files.config_file import read_config
from luminet_mm.preflight.keys import option_problems
from luminet_mm.runs.launchers import RANK_VARIABLES, LaunchError


class OptionsAction(DictAction):
    """``key=value`` pairs; anything else prints the usage text."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        for pair in values:
            try:
                super().__call__(parser, namespace, [pair], option_string)
            except (AssertionError, RecursionError, ValueError):
                parser.error(
                    f'{option_string} {pair!r}: write key=value, as in '
                    'optim_wrapper.optimizer.lr=0.01, a.list="[1,2]" or '
                    'a.tuple="(1,2)"; a dict goes key by key, or into the '
                    'config.'
                )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that MMDetection's train.py and test.py share."""
    parser.add_argument(
        '--work-dir',
        help='folder for logs and results; default ./work_dirs/<config name>',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        help='override entries of the config: key=value pairs, as in '
        'optim_wrapper.optimizer.lr=0.01 or key="[(a,b),(c,d)]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were started',
    )
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help='set by torch.distributed.launch; torchrun does not need it',
    )
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='show the environment and the whole config, which otherwise go '
        'only to the log file, and the traceback of an error',
    )


def add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that decide which checkpoints a run takes."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='load checkpoints even if they hold more than weights. Such a '
        'file can run any code: use it only for files that you trust',
    )
    parser.add_argument(
        '--allow-partial',
        action='store_true',
        help='load the weights that fit from a checkpoint that does not fit '
        'the model, and leave the rest random',
    )


def load_config(args: argparse.Namespace) -> Config:
    """Read the config file and apply the shared flags to it.

    Args:
        args: With ``config`` and the shared flags.

    Returns:
        With ``launcher`` and ``work_dir`` set. Unknown keys on the
        command line are in ``args.faults``.

    Raises:
        ConfigFileError: If the file cannot be read as a config.
        LaunchError: If ``--cfg-options`` does not fit it.
    """
    *_, theirs = RANK_VARIABLES.get(args.launcher, ('LOCAL_RANK',))
    local_rank = os.environ.get(theirs, str(args.local_rank))
    os.environ.setdefault('LOCAL_RANK', local_rank)
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    args.faults = []
    if args.cfg_options is not None:
        args.faults = option_problems(cfg, args.cfg_options)
        try:
            cfg.merge_from_dict(args.cfg_options)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise LaunchError(
                '\n'.join(args.faults)
                or f'--cfg-options {" ".join(args.cfg_options)} cannot be put '
                f'into {args.config}: {error}'
            ) from error
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(args.config).stem))
    args.work_dir = cfg.work_dir
    return cfg
