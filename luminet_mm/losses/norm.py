"""NORM: many segments of the student learn the teacher's map (Liu)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import size_of
from luminet_mm.registry import MODELS


def norm_loss(
    student: Tensor, teacher: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Distance of each of N segments of the channels to the same target.

    .. math:: L = \sum_{i=1}^{N} \mathrm{mean}\,(e_i - f_t)^2

    where :math:`e_i` are the segments of the student's channels, each with as
    many channels as the teacher. It is N times the mean squared distance to
    the teacher's map repeated N times.

    Args:
        student: ``(B, N * C, H, W)``.
        teacher: ``(B, C, H, W)``; detach it if it carries a graph.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> norm_loss(torch.zeros(2, 6, 1, 1), torch.full((2, 3, 1, 1), 2.0))
        tensor(8.)
    """
    segments = student.unflatten(1, (-1, teacher.shape[1]))
    distances = (segments - teacher[:, None]).square().sum(dim=1)
    return global_mean(distances.flatten(1).mean(dim=1), sync=sync)


def _parts(student: int, teacher: int) -> dict[str, Any]:
    neck = dict(
        type='luminet_mm.NORMNeck',
        in_channels=student,
        teacher_channels=teacher,
    )
    return dict(neck=[neck, dict(type='GlobalAveragePooling')])


@MODELS.register_module()
class NORMLoss(FeatureLoss):
    """NORM's many-to-one matching, see :func:`norm_loss`; sums over maps.

    `NORM: Knowledge Distillation via N-to-One Representation Matching
    <https://openreview.net/forum?id=CRNwGauQpb6>`_. The student has a
    :class:`~luminet_mm.models.necks.norm.NORMNeck`; its wide layer,
    ``student='neck.0.expand'``, is compared with ``teacher='backbone'``. N is
    the ratio of their channels. The larger map is max-pooled to the smaller.

    On CIFAR-100 the code in :attr:`card` uses N 8, weight 1, cross entropy
    with weight 0.1 and no KD. It multiplies the weight by 0.1, 0.5, 1, 0.5 and
    0.1 from epochs 0, 10, 20, 180 and 210 of 240.

    Args:
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import NORMLoss
        >>> wide, teacher = torch.zeros(2, 24, 8, 8), torch.ones(2, 3, 4, 4)
        >>> NORMLoss()(wide, teacher)  # eight segments, each with distance 1
        tensor(8.)
    """

    card = Card(
        title='NORM',
        key='norm',
        paper=Paper(
            'NORM: Knowledge Distillation via N-to-One Representation '
            'Matching',
            'Liu et al. 2023',
            'https://openreview.net/forum?id=CRNwGauQpb6',
        ),
        sources=(
            Source(
                'OSVAI/NORM', 'c6dfc39', 'BSD-2-Clause', ('helper/loops.py',)
            ),
        ),
        signals=Signals('expanded map', 'last map'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=1.0), ce=0.1),
        ),
        needs=('NORMNeck in the student',),
        parts=_parts,
    )

    dims = (4,)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return self.total(
            norm_loss(*_same_size(ours, theirs), sync=self.sync_stats)
            for ours, theirs in zip(student, teacher, strict=True)
        )

    def _check_pairs(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        super()._check_pairs(ours, theirs)
        for wide, target in zip(ours, theirs, strict=True):
            if wide.shape[1] % target.shape[1]:
                raise ValueError(
                    f'{self.name}: the student has {wide.shape[1]} channels, '
                    f"not a multiple of the teacher's {target.shape[1]}. Name "
                    'the wide layer of a luminet_mm.NORMNeck with '
                    f'teacher_channels={target.shape[1]}, as in '
                    "student='neck.0.expand'."
                )


def _same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Max-pool the larger of two ``(B, C, H, W)`` maps to the smaller."""
    if one.shape[2] > other.shape[2]:
        one = _max_pool(one, size_of(other))
    elif one.shape[2:] != other.shape[2:]:
        other = _max_pool(other, size_of(one))
    return one, other


def _max_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Like the authors' if their windows give this size, say from 7 to 3."""
    window = max(x.shape[2] // max(size[0], 1), 1)
    if tuple(side // window for side in x.shape[2:]) == size:
        return F.max_pool2d(x, window)
    return F.adaptive_max_pool2d(x, size)
