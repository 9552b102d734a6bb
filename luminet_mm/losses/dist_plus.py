"""DIST+: DIST, and correlations of channels and of images (Huang et al.)."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_mean, global_moments, row_total
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss, Features
from luminet_mm.losses.base.tensors import FLAT
from luminet_mm.losses.dist import correlation, dist_loss
from luminet_mm.registry import MODELS


def channel_loss(
    student: Tensor, teacher: Tensor, *, eps: float = 1e-8, sync: bool = False
) -> Tensor:
    r"""Correlation of two maps over the channels of each position.

    .. math:: L = 1 - \mathrm{mean}_{b,h,w}\;
              \rho\!\left(f^s_{b:hw}, f^t_{b:hw}\right)

    with Pearson's :math:`\rho`. The student's deviation is at least
    :data:`~luminet_mm.losses.base.tensors.FLAT`, so the gradient is bounded.

    Args:
        student: ``(B, C, H, W)``.
        teacher: The same shape; detach it if it carries a graph.
        eps: Added to the product of norms.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without images.

    Examples:
        >>> import torch
        >>> maps = torch.rand(2, 4, 3, 3)
        >>> loss = channel_loss(5 * maps + 1, maps)  # scale does not matter
        >>> bool(loss.abs() < 1e-5)
        True
        >>> round(float(channel_loss(-maps, maps)), 3)
        2.0
    """
    ours, theirs = (
        maps - maps.mean(dim=1, keepdim=True) for maps in (student, teacher)
    )
    rho = correlation(
        (ours * ours).sum(dim=1),
        (theirs * theirs).sum(dim=1),
        (ours * theirs).sum(dim=1),
        eps,
        student.new_full((), student.shape[1] * FLAT**2),
    )
    return global_mean(1 - rho.mean(dim=(1, 2)), sync=sync)


def image_loss(
    student: Tensor, teacher: Tensor, *, eps: float = 1e-8, sync: bool = False
) -> Tensor:
    r"""Correlation of two maps over the images, at each position.

    .. math:: L = 1 - \mathrm{mean}_{h,w}\;
              \rho\!\left(\textstyle\sum_c f^s_{:chw},
              \sum_c f^t_{:chw}\right)

    The student's deviation is bounded as in :func:`channel_loss`.

    Args:
        student: ``(B, C, H, W)``.
        teacher: The same shape; detach it if it carries a graph.
        eps: Added to the product of norms.
        sync: Whether the images are those of all ranks. These need maps of
            one size then.

    Returns:
        Scalar; 0 without images, and the constant 1 with a single one.

    Examples:
        >>> import torch
        >>> maps = torch.rand(5, 4, 3, 3)
        >>> bool(image_loss(2 * maps, maps).abs() < 1e-5)
        True
        >>> image_loss(maps[:1], maps[:1])  # nothing to compare it with
        tensor(1.)
    """
    ours, theirs = (maps.sum(dim=1).flatten(1) for maps in (student, teacher))
    # all three moments of every position in one all-reduce
    moments = global_moments(
        torch.cat([ours, theirs, ours], dim=1),
        torch.cat([ours, theirs, theirs], dim=1),
        row_total(ours),
        sync=sync,
    )
    least = moments.weight * FLAT**2
    ss, tt, st = moments.comoment.chunk(3)
    rho = correlation(ss, tt, st, eps, least)
    return (1 - rho.mean()) * (moments.weight > 0)


@MODELS.register_module()
class DISTPlusLoss(FeatureLoss):
    r"""DIST on logits, and correlations of maps.

    `DIST+: Knowledge Distillation From a Stronger Adaptive Teacher
    <https://doi.org/10.1109/TPAMI.2025.3554235>`_:

    .. math:: L = L_{DIST} + \iota\,L_{channels} + \kappa\,L_{images}

    of :func:`~luminet_mm.losses.dist.dist_loss`, :func:`channel_loss` and
    :func:`image_loss`. The example in :attr:`card` compares the last stage of
    ResNet-18 and ResNet-34 on ImageNet with the defaults here, twice the loss
    and cross entropy of weight 1. There the channels' correlation is added
    where it is to be subtracted from 1, which rewards the opposite of the
    teacher; here the sign is right. The paper's adaptation of the teacher is
    in neither.

    Signals are maps, then the logits: ``['backbone.layer4', 'logits']``. Terms
    of several maps add up. Both networks need equal channels and sizes. On
    RoIs the maps are those of the RoIs, ``['roi.feats', 'roi.cls_score']``;
    the options ``rows``, ``background`` and ``added_gt`` of losses on logits
    do not exist here.

    Args:
        tau: Temperature of the logits, > 0.
        beta: Weight of DIST's inter-class (row) term, >= 0.
        gamma: Weight of DIST's intra-class (column) term, >= 0.
        iota: Weight of the channels' term, >= 0.
        kappa: Weight of the images' term, >= 0.
        eps: Added to the products of norms, > 0.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range, or the signals are not
            maps and then logits.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DISTPlusLoss
        >>> teacher = [torch.rand(6, 8, 4, 4), torch.randn(6, 5)]
        >>> loss = DISTPlusLoss()
        >>> bool(loss(teacher, teacher).abs() < 1e-4)
        True
        >>> student = [torch.rand(6, 8, 4, 4), torch.randn(6, 5)]
        >>> bool(loss(student, teacher) > 1)
        True
    """

    card = Card(
        title='DIST+',
        key='dist_plus',
        paper=Paper(
            'DIST+: Knowledge Distillation From a Stronger Adaptive Teacher',
            'Huang et al. 2025',
            'https://doi.org/10.1109/TPAMI.2025.3554235',
        ),
        sources=(
            Source(
                'yoshitomo-matsubara/torchdistill',
                '3e4373c',
                'MIT',
                ('torchdistill/losses/mid_level.py',),
            ),
        ),
        signals=Signals(('last map', 'logits')),
        uses=dict(
            classifier=Use(
                settings=dict(tau=1.0, beta=2.0, gamma=2.0, loss_weight=2.0)
            ),
            detector=Use(signals=Signals(('vectors', 'logits'))),
        ),
        needs=('equal channels',),
        statistics='rows, per class; channels; images',
        formula=(
            'DIST, `iota (1 − ρ)` over the channels of each position of a '
            'map, `kappa (1 − ρ)` over the images at each position'
        ),
    )

    activations: tuple[str, ...] = ('softmax',)
    same_width = same_size = True

    def __init__(
        self,
        *,
        tau: float = 1.0,
        beta: float = 2.0,
        gamma: float = 2.0,
        iota: float = 1.0,
        kappa: float = 1.0,
        eps: float = 1e-8,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.beta = self._number('beta', beta)
        self.gamma = self._number('gamma', gamma)
        self.iota = self._number('iota', iota)
        self.kappa = self._number('kappa', kappa)
        self.eps = self._number('eps', eps, positive=True)

    def select(self, side: str, value: Features) -> list[Tensor]:
        """See :meth:`FeatureLoss.select`; maps, then logits.

        Raises:
            ValueError: They are not.
        """
        features = super().select(side, value)
        *maps, logits = [each.dim() for each in features]
        if not maps or {*maps} != {4} or logits != 2:
            shapes = [tuple(each.shape) for each in features]
            raise ValueError(
                f"{self.name}: the {side}'s signals have shapes {shapes}; "
                'name exactly these: maps (B, C, H, W), then the logits.'
            )
        return features

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        eps, sync = self.eps, self.sync_stats
        terms = [
            dist_loss(
                student[-1],
                teacher[-1],
                beta=self.beta,
                gamma=self.gamma,
                tau=self.tau,
                eps=eps,
                sync=sync,
            )
        ]
        for ours, theirs in zip(student[:-1], teacher[:-1], strict=True):
            channels = channel_loss(ours, theirs, eps=eps, sync=sync)
            images = image_loss(ours, theirs, eps=eps, sync=sync)
            terms += [self.iota * channels, self.kappa * images]
        return self.total(terms)
