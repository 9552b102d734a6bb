"""Batch norm over all processes under mmcv's name, on torch's own."""

from __future__ import annotations

from typing import Any

from torch import nn

STATS_MODES = ('default', 'N')


class SyncBatchNorm(nn.SyncBatchNorm):
    """mmcv's ``SyncBatchNorm`` (``MMSyncBN``) with torch's statistics.

    Both average over all processes. mmcv weighs each process alike, or with
    ``stats_mode='N'`` by its number of values, as torch always does: the same,
    unless processes have inputs of different sizes. Weights start at 1, where
    mmcv draws them between 0 and 1.

    Args:
        num_features: Number of channels.
        eps: Added to the variance.
        momentum: Of the running statistics.
        affine: Whether there are weights and biases.
        track_running_stats: Whether there are running statistics.
        group: Processes to average over; by default all.
        stats_mode: See above.

    Raises:
        ValueError: If ``stats_mode`` is unknown.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        group: Any = None,
        stats_mode: str = 'default',
    ) -> None:
        if stats_mode not in STATS_MODES:
            raise ValueError(
                f'SyncBatchNorm: stats_mode={stats_mode!r} is not one of '
                f'{STATS_MODES}'
            )
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, group
        )
        self.stats_mode = stats_mode
