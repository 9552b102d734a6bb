"""RKD: distances and angles between the images (Park et al.)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_rows
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import FLAT, pooled, unit
from luminet_mm.registry import MODELS


def rkd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    distance_weight: float,
    angle_weight: float,
    squared: bool = False,
    eps: float = 1e-6,
    sync: bool = False,
) -> Tensor:
    r"""Difference of two models' distances and angles between rows.

    With the distances :math:`d_{ij} = \max(|e_j - e_i|, \epsilon)`, 0 for
    :math:`i = j`, the unit vectors :math:`u_{ij}` along :math:`e_j - e_i` and
    the smooth L1 distance :math:`h`:

    .. math::

        \psi^D_{ij} &= d_{ij} / \mathrm{mean}_{i \neq j}\, d_{ij}, \qquad
        \psi^A_{ijk} = \langle u_{ij}, u_{ik} \rangle \\
        L &= w_D\, \mathrm{mean}_{ij}\, h(\psi^{D,s} - \psi^{D,t})
           + w_A\, \mathrm{mean}_{ijk}\, h(\psi^{A,s} - \psi^{A,t})

    Divisors (lengths and mean distances) below
    :data:`~luminet_mm.losses.base.tensors.FLAT` are replaced with it. The
    means of :math:`h` are over all :math:`B^2` and :math:`B^3` entries,
    including equal indices. Time and memory grow with :math:`B^2 D`, and with
    :math:`B^3` unless the weight of the angles is 0.

    Args:
        student: ``(B, D_s)``.
        teacher: ``(B, D_t)``; detach it if it carries a graph.
        distance_weight: Weight of the distances, :math:`w_D`.
        angle_weight: Weight of the angles, :math:`w_A`.
        squared: Whether the distances are squared.
        eps: The least distance. Rows closer than this get no gradient from
            their distance, and equal rows none from their direction.
        sync: Whether the relations are between the rows of all ranks.

    Returns:
        Scalar; 0 with fewer than two rows.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[0., 0.], [1., 0.], [0., 3.]])
        >>> turned = 2 * teacher @ torch.tensor([[0., 1.], [-1., 0.]])
        >>> weights = dict(distance_weight=25.0, angle_weight=50.0)
        >>> abs(rkd_loss(turned, teacher, **weights)) < 1e-5
        tensor(True)
        >>> rkd_loss(teacher.flip(0), teacher, **weights) > 1
        tensor(True)
    """
    ours, theirs = (
        rows[None] - rows[:, None]  # not |a|^2 + |b|^2 - 2ab: keeps digits
        for rows in (global_rows(student, sync), global_rows(teacher, sync))
    )
    loss = distance_weight * _mean_smooth_l1(
        _distances(ours, squared, eps), _distances(theirs, squared, eps)
    )
    if angle_weight:
        angles = _mean_smooth_l1(_angles(ours), _angles(theirs))
        loss = loss + angle_weight * angles
    return loss


def _distances(differences: Tensor, squared: bool, eps: float) -> Tensor:
    norms = torch.linalg.vector_norm(differences, dim=2).clamp(min=eps)
    if squared:
        norms = norms.square()
    least = FLAT**2 if squared else FLAT
    n = len(norms)
    norms = norms * (1 - torch.eye(n, dtype=norms.dtype, device=norms.device))
    mean = norms.sum() / max(n * (n - 1), 1)
    return norms / mean.clamp(min=least)


def _angles(differences: Tensor) -> Tensor:
    directions = unit(differences, dim=2)
    return directions @ directions.transpose(1, 2)


def _mean_smooth_l1(student: Tensor, teacher: Tensor) -> Tensor:
    total = F.smooth_l1_loss(student, teacher, reduction='sum')
    return total / max(student.numel(), 1)


@MODELS.register_module()
class RKDLoss(FeatureLoss):
    """Relational knowledge distillation, see :func:`rkd_loss`.

    `Relational Knowledge Distillation <https://arxiv.org/abs/1904.05068>`_.
    The code in :attr:`card` compares the pooled vectors before the classifier
    with weight 1. There the direction between two equal rows has a gradient of
    1e12; here it has none.

    Maps are pooled; the losses of several features add up. With ``sync_stats``
    each rank relates the rows of all ranks, so the cost grows with their
    number: 512 rows, from 8 ranks of 64, have 134 million angles, 0.5 GB for
    each tensor of them that the backward pass saves. In that case set
    ``sync_stats=False`` or ``angle_weight=0``.

    Args:
        distance_weight: Weight of the distances, >= 0.
        angle_weight: Weight of the angles, >= 0; 0 avoids their cost, which is
            cubic in the number of rows.
        squared: Whether the distances are squared.
        eps: Rows at most this far apart count as one point, > 0.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import RKDLoss
        >>> student = torch.randn(6, 64, requires_grad=True)
        >>> teacher = torch.randn(6, 256)  # another width
        >>> RKDLoss()(student, teacher).backward()
        >>> student.grad.shape
        torch.Size([6, 64])
    """

    card = Card(
        title='RKD',
        key='rkd',
        paper=Paper(
            'Relational Knowledge Distillation',
            'Park et al. 2019',
            'https://arxiv.org/abs/1904.05068',
        ),
        sources=(MDISTILLER.at('mdistiller/distillers/RKD.py'),),
        signals=Signals('image vectors'),
        uses=dict(
            classifier=Use(
                settings=dict(
                    distance_weight=25.0, angle_weight=50.0, loss_weight=1.0
                )
            ),
            detector=Use(
                options=dict(levels=[-1]),
                settings=dict(
                    distance_weight=25.0, angle_weight=50.0, loss_weight=0.01
                ),
                published=False,
            ),
        ),
        needs=('three images or more',),
    )

    def __init__(
        self,
        *,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        squared: bool = False,
        eps: float = 1e-6,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.distance_weight = self._number('distance_weight', distance_weight)
        self.angle_weight = self._number('angle_weight', angle_weight)
        self.squared = squared
        self.eps = self._number('eps', eps, positive=True)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return self.total(
            rkd_loss(
                pooled(ours),
                pooled(theirs),
                distance_weight=self.distance_weight,
                angle_weight=self.angle_weight,
                squared=self.squared,
                eps=self.eps,
                sync=self.sync_stats,
            )
            for ours, theirs in zip(student, teacher, strict=True)
        )
