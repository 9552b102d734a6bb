"""Check and start a run's processes, and set how they communicate."""

import datetime
import os
import subprocess

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device

from luminet_mm.config_types import is_type, type_name
from luminet_mm.launch.parent import end_with_launcher
from luminet_mm.runs.launchers import RANK_VARIABLES, LaunchError
from luminet_mm.teachers.form import computes_bf16

# Model wrappers to which DDP's settings apply.
DDP = ('MMDistributedDataParallel', 'DistributedDataParallel')

DOT = ('luminet_mm.DOTOptimWrapper',)
# Wrappers of the optimizer that compute in mixed precision.
GPU_AMP = ('mmengine.AmpOptimWrapper', 'luminet_mm.DOTAmpOptimWrapper')
CPU_AMP = (
    'luminet_mm.CPUAmpOptimWrapper',
    'luminet_mm.DOTCPUAmpOptimWrapper',
)


def set_amp(cfg: Config) -> None:
    """Switch mixed precision on, as ``--amp`` asks for it.

    On a GPU by MMEngine's wrapper, with dynamic loss scaling; on a CPU in
    bf16. A config that has a wrapper for mixed precision keeps it.

    Args:
        cfg: ``optim_wrapper`` is adapted.
    """
    wrapper = cfg.optim_wrapper
    if is_type(wrapper, *GPU_AMP, *CPU_AMP):
        return
    dot = is_type(wrapper, *DOT)
    if _on_cpu():
        wrapper.type = CPU_AMP[dot]
        return
    wrapper.type = GPU_AMP[1] if dot else 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def check_amp(cfg: Config) -> None:
    """Refuse automatic mixed precision that this machine cannot do.

    Raises:
        LaunchError: If the config asks for a GPU's where there is none, or
            for bf16 on a processor that has no instructions for it.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    if is_type(wrapper, *GPU_AMP) and _on_cpu():
        raise LaunchError(
            'Mixed precision with optim_wrapper.type=AmpOptimWrapper needs a '
            'GPU, and this machine has none. Leave it out, or set '
            "type='luminet_mm.CPUAmpOptimWrapper' without loss_scale and "
            'dtype.'
        )
    if is_type(wrapper, *CPU_AMP):
        if not _on_cpu():
            raise LaunchError(
                'Mixed precision with optim_wrapper.type=CPUAmpOptimWrapper '
                'is for a CPU, and this run is on a GPU. Set '
                "type='AmpOptimWrapper'."
            )
        if not computes_bf16(torch.device('cpu')):
            raise LaunchError(
                'Mixed precision (--amp, or optim_wrapper.type='
                'CPUAmpOptimWrapper) is not worth it on this processor: it '
                'has no instructions for bf16 (AVX512-BF16, AMX), and would '
                'compute it by way of float32, more slowly. Leave it out.'
            )


def start_processes(cfg: Config) -> None:
    """Prepare a distributed run: DDP, Gloo on CPUs, a GPU count check.

    MMEngine always selects a CUDA device. Without CUDA, the process group is
    started here on Gloo, and the model wrapper gets no device. With CUDA,
    MMEngine starts the group (NCCL unless the config says otherwise).

    Args:
        cfg: With ``launcher`` set; ``model_wrapper_cfg`` is adapted.

    Raises:
        LaunchError: If a variable of the launcher is missing, there are fewer
            GPUs than processes on this machine, or the DDP settings conflict.
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
    """The config's ``model_wrapper_cfg``, completed with defaults.

    For a stock model these are MMEngine's own. A distillation run uses the
    same parameters at every step, so DDP gets ``static_graph=True`` unless the
    config says otherwise.

    Args:
        cfg: The whole config.

    Returns:
        A complete ``model_wrapper_cfg``.
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
            # torch fails if the first batch does not synchronise
            static_graph=not _accumulates(cfg),
        )
    settings.update(given)
    if settings['find_unused_parameters'] and 'static_graph' not in given:
        settings['static_graph'] = False  # they may change between steps
    return settings


def _accumulates(cfg: Config) -> bool:
    """Whether a step accumulates the gradients of several batches."""
    return (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1) > 1


def _set_ddp(cfg: Config) -> None:
    """Complete ``model_wrapper_cfg``; leave wrappers other than DDP alone.

    Raises:
        LaunchError: If the settings conflict.
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
            'batch synchronises its gradients. Set static_graph=False; if '
            'a parameter takes no part in the loss, also set '
            'find_unused_parameters=True.'
        )


def _on_cpu() -> bool:
    return get_device() in ('cpu', 'mps')


def _check_gpus(local_rank: int) -> None:
    """Check that this machine has a GPU for each of its processes."""
    if not torch.cuda.is_available():
        return
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', local_rank + 1))
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise LaunchError(
            f'{processes} processes were started on a machine with {gpus} '
            'GPU(s). Start that many, or set CUDA_VISIBLE_DEVICES=-1 to '
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
