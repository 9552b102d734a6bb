"""VID: a bound on the information about the teacher's maps (Ahn et al.)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import (
    MDISTILLER,
    REPDISTILLER,
    Card,
    Paper,
    Signals,
    Use,
)
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import pool_to_smaller
from luminet_mm.registry import MODELS


def vid_loss(
    mean: Tensor,
    teacher: Tensor,
    scale: Tensor,
    *,
    eps: float = 1e-5,
    sync: bool = False,
) -> Tensor:
    r"""Negative log likelihood of a teacher's map, without its constant.

    The student predicts the mean :math:`\mu` of a Gaussian with the variance
    :math:`v_c = \log(1 + e^{a_c}) + \epsilon` for each channel:

    .. math:: L = \tfrac12\, \mathrm{mean} \left[
              \frac{(\mu - f_t)^2}{v} + \log v \right]

    over all elements. It is negative if small variances fit.

    Args:
        mean: ``(B, C, H, W)``.
        teacher: The same shape; detach it if it carries a graph.
        scale: ``(C,)``, the :math:`a_c`.
        eps: Smallest variance.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> mean, teacher = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
        >>> scale = torch.full((3,), 0.5413)  # log(e - 1): the variance is 1
        >>> round(vid_loss(mean, teacher, scale).item(), 2)
        0.5
    """
    variance = (F.softplus(scale) + eps)[:, None, None]
    values = (mean - teacher).square() / variance + variance.log()
    return global_mean(values.flatten(1).mean(dim=1) / 2, sync=sync)


@MODELS.register_module()
class VIDLoss(FeatureLoss):
    """Variational information distillation, see :func:`vid_loss`.

    `Variational Information Distillation for Knowledge Transfer
    <https://arxiv.org/abs/1904.05835>`_. The implementations in :attr:`card`
    compare all stages of a network with weight 1. The variances are trained,
    as in RepDistiller; mdistiller does not pass them to its optimizer.

    The larger map is average-pooled to the smaller; then three 1x1
    convolutions predict the teacher's map. The losses of several maps add up.

    Args:
        init_variance: Initial value of all variances, > eps.
        eps: Smallest variance, > 0.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import VIDLoss
        >>> student, teacher = torch.rand(2, 4, 8, 8), torch.rand(2, 6, 8, 8)
        >>> loss = VIDLoss(init_variance=5.0).build([student], [teacher])
        >>> loss([student], [teacher]).backward()
        >>> all(weight.grad is not None for weight in loss.parameters())
        True
    """

    card = Card(
        title='VID',
        key='vid',
        paper=Paper(
            'Variational Information Distillation for Knowledge Transfer',
            'Ahn et al. 2019',
            'https://arxiv.org/abs/1904.05835',
        ),
        sources=(
            REPDISTILLER.at('distiller_zoo/VID.py'),
            MDISTILLER.at('mdistiller/distillers/VID.py'),
        ),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=1.0)),
            detector=Use(settings=dict(loss_weight=9.0), published=False),
        ),
    )

    dims = (4,)
    has_connectors = True

    def __init__(
        self, *, init_variance: float = 5.0, eps: float = 1e-5, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.init_variance = self._number('init_variance', init_variance)
        self.eps = self._number('eps', eps, positive=True)
        if init_variance <= eps:
            raise ValueError(
                f'{self.name}: init_variance is {init_variance!r}; set more '
                f'than eps, {eps!r}.'
            )

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        above = self.init_variance - self.eps
        scale = above + math.log(-math.expm1(-above))  # softplus inverted
        self.regressors = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(ours[1], theirs[1], 1, bias=False),
                nn.ReLU(),
                nn.Conv2d(theirs[1], theirs[1], 1, bias=False),
                nn.ReLU(),
                nn.Conv2d(theirs[1], theirs[1], 1, bias=False),
            )
            for ours, theirs in zip(student, teacher, strict=True)
        )
        self.scales = nn.ParameterList(
            torch.full((theirs[1],), scale) for theirs in teacher
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        pairs = [*map(pool_to_smaller, student, teacher)]
        means = self.connect(self.regressors, [ours for ours, _ in pairs])
        return self.total(
            vid_loss(
                mean,
                theirs,
                scale.to(theirs.dtype),
                eps=self.eps,
                sync=self.sync_stats,
            )
            for mean, (_, theirs), scale in zip(
                means, pairs, self.scales, strict=True
            )
        )
