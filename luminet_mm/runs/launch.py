"""What the command-line tools share: flags, config, processes, runner."""

import argparse
import datetime
import os
import subprocess
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from luminet_mm.config_types import is_type, type_name
from luminet_mm.files.config_file import read_config
from luminet_mm.runs.loading import install_strict_loading
from luminet_mm.runs.options import OptionsAction
from luminet_mm.runs.parent import end_with_launcher
from luminet_mm.runs.quiet import make_runner
from luminet_mm.runs.weights import WeightsHook

# Rank, number of processes and rank on this machine, by launcher.
RANK_VARIABLES = dict(
    pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    mpi=(
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'OMPI_COMM_WORLD_LOCAL_RANK',
    ),
)

# Wrappers of a model to which the settings of DDP apply.
DDP = ('MMDistributedDataParallel', 'DistributedDataParallel')


class LaunchError(RuntimeError):
    """The machine or the environment cannot run what was asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that MMDetection's train.py and test.py have in common."""
    parser.add_argument(
        '--work-dir',
        help='where logs and results go; default ./work_dirs/<config name>',
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
        help='what started the processes',
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
        'to the log file alone, and the traceback of an error',
    )


def load_config(args: argparse.Namespace) -> Config:
    """Read the config file and apply the shared flags to it.

    Args:
        args (argparse.Namespace): With ``config`` and the shared flags.

    Returns:
        Config: With ``launcher`` and ``work_dir`` set. Keys on the command
        line that nobody reads are in ``args.faults``.

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
        # imports the detectors, which not every tool needs
        from luminet_mm.preflight.keys import option_problems

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


def build_runner(
    cfg: Config,
    trust: bool = False,
    allow_partial: bool = False,
    last_layer: bool = False,
    args: argparse.Namespace | None = None,
) -> Runner:
    """Start the processes' group where MMEngine cannot; build the runner.

    Args:
        cfg (Config): The whole config.
        trust (bool): Load checkpoints that may run code.
        allow_partial (bool): Take checkpoints that fit in parts.
        last_layer (bool): Whether the last layer of a classifier may differ
            from that of ``load_from``.
        args (argparse.Namespace | None): The command line, for the console.
    """
    check_amp(cfg)
    start_processes(cfg)
    install_strict_loading(trust, allow_partial)
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


def check_amp(cfg: Config) -> None:
    """Refuse automatic mixed precision where there is no accelerator.

    Raises:
        LaunchError: If the config asks for it on a CPU.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    if is_type(wrapper, 'mmengine.AmpOptimWrapper') and _on_cpu():
        raise LaunchError(
            'Mixed precision (--amp, or optim_wrapper.type=AmpOptimWrapper) '
            'needs a GPU and this machine has none. Leave it out.'
        )


def start_processes(cfg: Config) -> None:
    """Prepare distributed running: DDP, gloo on CPUs, a count check on GPUs.

    MMEngine always selects a CUDA device. Without one, the process group is
    started here, on gloo, and the model wrapper is told to name no device.
    With one, MMEngine starts the group (NCCL unless the config says else).

    Args:
        cfg (Config): With ``launcher`` set; ``model_wrapper_cfg`` is adapted.

    Raises:
        LaunchError: If a variable of the launcher is missing, there are fewer
            GPUs than processes on this machine, or DDP cannot be set so.
    """
    if cfg.launcher == 'none':
        return
    names = RANK_VARIABLES[cfg.launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise LaunchError(
            f'--launcher {cfg.launcher} needs the environment variables '
            f'{", ".join(missing)}. Start with tools/dist_train.sh or '
            'tools/dist_test.sh, or tools/slurm_*.sh on Slurm.'
        )
    rank, world_size, local_rank = (int(os.environ[name]) for name in names)
    end_with_launcher(cfg.launcher)
    _set_ddp(cfg)
    if not _on_cpu():
        _check_gpus(local_rank)
        return
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(local_rank)
    )
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _master_address(cfg.launcher)
    if not torch.distributed.is_initialized():
        seconds = (
            (cfg.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout', 1800)
        )
        torch.distributed.init_process_group(
            'gloo', timeout=datetime.timedelta(seconds=seconds)
        )


def ddp_settings(cfg: Config) -> dict:
    """The config's ``model_wrapper_cfg``, and what it leaves open.

    That is MMEngine's own for a stock model. A distillation run has the same
    parameters in its graph at every step, which DDP is told
    (``static_graph``), except where the config says otherwise.

    Args:
        cfg (Config): The whole config.

    Returns:
        dict: A whole ``model_wrapper_cfg``.
    """
    given = cfg.get('model_wrapper_cfg') or {}
    settings = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    if 'distill' in (cfg.get('model') or {}):
        settings.update(
            gradient_as_bucket_view=True,
            # torch fails where the first batch does not synchronise
            static_graph=not _accumulates(cfg),
        )
    settings.update(given)
    if settings['find_unused_parameters'] and 'static_graph' not in given:
        settings['static_graph'] = False  # they may be others at each step
    return settings


def _accumulates(cfg: Config) -> bool:
    """Whether gradients of several batches make a step."""
    return (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1) > 1


def _set_ddp(cfg: Config) -> None:
    """Complete ``model_wrapper_cfg``; other wrappers than DDP stay.

    Raises:
        LaunchError: If the settings do not go together.
    """
    given = cfg.get('model_wrapper_cfg') or {}
    if given.get('type') and type_name(given) not in DDP:
        return
    cfg.model_wrapper_cfg = ddp_settings(cfg)
    if _on_cpu():
        cfg.model_wrapper_cfg.device_ids = None
    if cfg.model_wrapper_cfg.get('static_graph') and _accumulates(cfg):
        raise LaunchError(
            'model_wrapper_cfg.static_graph=True does not work with '
            'optim_wrapper.accumulative_counts: torch expects that the first '
            'batch synchronises its gradients. Set static_graph=False; where '
            'a parameter takes no part in the loss also '
            'find_unused_parameters=True.'
        )


def _on_cpu() -> bool:
    return get_device() in ('cpu', 'mps')


def _check_gpus(local_rank: int) -> None:
    """Compare the processes on this machine with its GPUs."""
    if not torch.cuda.is_available():
        return
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', local_rank + 1))
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise LaunchError(
            f'{processes} processes were started on a machine with {gpus} '
            'GPU(s). Ask for that many, or set CUDA_VISIBLE_DEVICES=-1 to '
            'run on the CPU.'
        )


def _master_address(launcher: str) -> str:
    if launcher == 'slurm':
        nodes = os.environ.get('SLURM_NODELIST', '')
        return subprocess.check_output(
            ['scontrol', 'show', 'hostname', nodes], text=True
        ).split()[0]
    if launcher == 'mpi':
        raise LaunchError(
            '--launcher mpi needs the environment variable MASTER_ADDR: the '
            'address of the machine that runs rank 0.'
        )
    return '127.0.0.1'
