"""The launcher of a run's processes, and the variables that it sets."""

from __future__ import annotations

import os

from mmengine.config import Config

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


class LaunchError(RuntimeError):
    """The machine or the environment cannot run the request."""


def world_size(cfg: Config) -> int:
    """How many processes the launcher started."""
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return 1
    return int(os.environ.get(RANK_VARIABLES[launcher][1], 1))


def is_first(cfg: Config) -> bool:
    """Whether this is the process that writes."""
    if cfg.get('launcher', 'none') == 'none':
        return True
    variable, *_ = RANK_VARIABLES[cfg.launcher]
    return os.environ.get(variable, '0') == '0'
