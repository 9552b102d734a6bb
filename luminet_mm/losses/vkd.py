"""VkD: orthogonal projection to the normalised teacher (Miles et al.)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.connectors import make_connector
from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.rows import RowsLoss, feature_rows
from luminet_mm.registry import MODELS


def vkd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    eps: float = 1e-5,
    sync: bool = False,
) -> Tensor:
    r"""Smooth L1 distance to the layer-normed teacher.

    .. math:: L = \mathrm{mean}_{n, d}\;
              \mathrm{smooth\_l1}_\beta\big(s_{nd}, \mathrm{LN}(t)_{nd}\big)

    The layer norm is over the channels of a row, without weights; the student
    is not normalised.

    Args:
        student: ``(N, D)``, projected.
        teacher: ``(N, D)``; detach it if it carries a graph.
        beta: Distance at which the loss changes from squared to linear.
        eps: Added to the teacher's variance, inside the root.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> teacher = torch.tensor([[7., 9.]])  # normed, -1 and 1
        >>> vkd_loss(torch.tensor([[-1., 4.]]), teacher)  # (0 + 2.5) / 2
        tensor(1.2500)
    """
    teacher = F.layer_norm(teacher, teacher.shape[1:], eps=eps)
    distances = F.smooth_l1_loss(student, teacher, reduction='none', beta=beta)
    return global_mean(distances.mean(dim=1), sync=sync)


@MODELS.register_module()
class VkDLoss(RowsLoss):
    """VkD's orthogonal projection, see :func:`vkd_loss`.

    `VkD: Improving Knowledge Distillation using Orthogonal Projections
    <https://arxiv.org/abs/2403.06213>`_. The code in :attr:`card` compares the
    mean patch token of DeiT with the pooled last map of a RegNetY-160, with
    weight 1, cross entropy and KD of tau 1.

    The student's feature is projected by a matrix whose columns stay
    orthonormal, so the teacher must be at least as wide. Losses of several
    features add up.

    Args:
        beta: Distance at which the loss changes from squared to linear, > 0.
        eps: Added to the teacher's variance, > 0.
        kwargs: Options of :class:`~luminet_mm.losses.base.rows.RowsLoss`; a
            DeiT's tokens are ``student='backbone.ln1'`` with
            ``extra_tokens=2``.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import VkDLoss
        >>> student, teacher = torch.randn(6, 4), torch.randn(6, 8)
        >>> loss = VkDLoss().build(student, teacher)
        >>> loss(student, teacher).backward()
        >>> loss.connectors[0](student).shape
        torch.Size([6, 8])
    """

    card = Card(
        title='VkD',
        key='vkd',
        paper=Paper(
            'VkD: Improving Knowledge Distillation using Orthogonal '
            'Projections',
            'Miles et al. 2024',
            'https://arxiv.org/abs/2403.06213',
        ),
        sources=(
            Source(
                'roymiles/VkD',
                '6f8a507',
                'none',
                (
                    'engine.py',
                    'train.py',
                ),
            ),
        ),
        signals=Signals('vectors'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=1.0)),
            detector=Use(settings=dict(loss_weight=0.3), published=False),
        ),
        needs=('a teacher at least as wide',),
        optimizer='AdamW',
    )

    has_connectors = True

    def __init__(
        self,
        *,
        beta: float = 1.0,
        eps: float = 1e-5,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.beta = self._number('beta', beta, positive=True)
        self.eps = self._number('eps', eps, positive=True)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`RowsLoss.make_connectors`."""
        for ours, theirs in zip(student, teacher, strict=True):
            if theirs[1] < ours[1]:
                raise ValueError(
                    f'the teacher has {theirs[1]} channels and the student '
                    f'{ours[1]}, but the projection is orthogonal: the '
                    'teacher must be at least as wide. Compare a wider '
                    'layer of the teacher, or use SRDLoss.'
                )
        self.connectors = nn.ModuleList(
            make_connector('orthogonal', ours[:2], theirs[:2])
            for ours, theirs in zip(student, teacher, strict=True)
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`RowsLoss.compute`."""
        pairs = [
            feature_rows(ours, theirs, self.rows)
            for ours, theirs in zip(student, teacher, strict=True)
        ]
        projected = self.connect(self.connectors, [ours for ours, _ in pairs])
        return self.total(
            vkd_loss(
                ours,
                theirs,
                beta=self.beta,
                eps=self.eps,
                sync=self.sync_stats,
            )
            for ours, (_, theirs) in zip(projected, pairs, strict=True)
        )
