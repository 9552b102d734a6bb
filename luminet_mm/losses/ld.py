"""LD: localisation distillation of box distributions (Zheng et al.)."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_sum, world_size
from luminet_mm.losses.base.batch import Points
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.dense import DenseLoss, precise
from luminet_mm.losses.kd import kl_rows
from luminet_mm.losses.ld_region import near_misses
from luminet_mm.registry import MODELS


def side_kl(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    r"""Divergence of the distributions of a box's four sides.

    .. math:: \tau^2\,\frac1{b} \mathrm{KL}(\sigma(t/\tau)\,\|\,
              \sigma(s/\tau))

    summed over the sides; a mean over their b bins, as published.

    Args:
        student: ``(N, 4 * b)`` logits, side by side.
        teacher: ``(N, 4 * b)``; detach it if it carries a graph.
        tau: Temperature.

    Returns:
        ``(N,)``.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import side_kl
        >>> teacher = torch.tensor([[9., 0, 0, 0, 0, 0, 0, 0]])  # two bins
        >>> side_kl(torch.zeros(1, 8), teacher, tau=1.0)
        tensor([0.3460])
    """
    bins = student.shape[1] // 4
    values = kl_rows(student.reshape(-1, bins), teacher.reshape(-1, bins), tau)
    return values.view(-1, 4).sum(dim=1) * (tau**2 / bins)


@MODELS.register_module()
class LDLoss(DenseLoss):
    r"""LD: distributions of box sides, where boxes are and nearly are.

    `Localization Distillation for Dense Object Detection
    <https://arxiv.org/abs/2102.12252>`_. With :math:`k(\cdot; \tau)` of a
    point :math:`a` as in :func:`side_kl`, positives :math:`P`, scores
    :math:`S` of the student, and the value :math:`v_a` of a near miss (the
    "valuable localisation region", :func:`near_misses`):

    .. math:: L = \frac{w_{main}}{4} \sum_{a \in P} \max_c S_{ac}\,
              k_a(\tau) + \frac{w_{vlr}}{16} \sum_a v_a k_a(\tau)
              + w_{kd} \sum_l \frac{1}{|P_l|} \sum_{a \in P_l} l_a
              \frac{\tau_{kd}^2}{C} \mathrm{KL}(\sigma(t_a/\tau_{kd})\,\|\,
              \sigma(s_a/\tau_{kd}))

    with the softmax over classes and positives of level :math:`l` in the last
    term, as published. The weights by scores have no gradient.

    The published sums are over the images of one GPU, two in the release, and
    are divided by neither weights nor boxes. Here they are scaled to
    ``images`` images whatever the batch holds, so that neither its size nor
    the number of ranks changes the loss.

    Signals are ``['cls_score', 'bbox_pred']`` of heads with distributions.

    Args:
        main_weight: Weight of the boxes of positives.
        vlr_weight: Weight of those of near misses.
        kd_weight: Weight of classes.
        tau: Temperature of the sides' distributions, > 0.
        kd_tau: Temperature of classes, > 0.
        images: Images of the published sums.
        kwargs: Options of :class:`DenseLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, LDLoss, Points
        >>> anchors = torch.tensor([[0., 0, 4, 4], [1, 0, 5, 4]])
        >>> points = Points(
        ...     labels=[torch.tensor([0, 2])], weights=[torch.ones(2)],
        ...     num_pos=torch.tensor(1.0), decode=lambda level, rows: rows,
        ...     priors=lambda level: anchors, boxes=[anchors[:1]])
        >>> teacher = [[torch.zeros(2, 2)], [torch.randn(2, 12)]]
        >>> student = [[torch.zeros(2, 2)], [torch.zeros(2, 12)]]
        >>> batch = DistillBatch(points=points)
        >>> LDLoss()(student, teacher, batch) > 0
        tensor(True)
        >>> LDLoss()(teacher, teacher, batch)
        tensor(0.)
    """

    signals = ('cls_score', 'bbox_pred')
    fewest = 2
    distributions = True
    card = Card(
        title='LD',
        key='ld',
        paper=Paper(
            'Localization Distillation for Dense Object Detection',
            'Zheng et al. 2022',
            'https://arxiv.org/abs/2102.12252',
        ),
        sources=(
            Source(
                'HikariTJU/LD',
                '4287990',
                'Apache-2.0',
                (
                    'mmdet/models/dense_heads/ld_head.py',
                    'mmdet/models/losses/kd_loss.py',
                ),
            ),
        ),
        signals=Signals(('logits', 'boxes')),
        uses=dict(dense=Use(settings=dict(loss_weight=1.0), only=('GFL',))),
        needs=('box distributions (GFL)', 'boxes'),
        formula='`tau² KL` of the distributions of box sides (mean over '
        'bins) at positives and near misses, and KD of classes at positives',
    )

    def __init__(
        self,
        *,
        main_weight: float = 0.25,
        vlr_weight: float = 0.25,
        kd_weight: float = 10.0,
        tau: float = 10.0,
        kd_tau: float = 2.0,
        images: int = 2,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.main_weight = self._number('main_weight', main_weight)
        self.vlr_weight = self._number('vlr_weight', vlr_weight)
        self.kd_weight = self._number('kd_weight', kd_weight)
        self.tau = self._temperature(tau)
        self.kd_tau = self._number('kd_tau', kd_tau, positive=True)
        self.images = self._whole('images', images)

    def compute_all(
        self,
        student: list[list[Tensor]],
        teacher: list[list[Tensor]],
        points: Points,
    ) -> Tensor:
        """See :meth:`DenseLoss.compute_all`."""
        like = student[0][0]
        positives = [
            (labels >= 0) & (labels < like.shape[1])
            for labels in points.labels
        ]
        *counts, images = self._over_ranks(positives, points.images)
        terms = []
        for level, region in enumerate(self.regions(points)):
            (own, sides), (other, targets) = (
                [precise(signal[level], like) for signal in side]
                for side in (student, teacher)
            )
            best = own.detach().sigmoid().amax(dim=1)
            share = (self.main_weight / 4) * best * positives[level]
            share = share + (self.vlr_weight / 16) * region.to(share)
            where = ((share > 0) | positives[level]).nonzero().squeeze(1)
            boxes = share[where] * side_kl(
                sides[where], targets[where], self.tau
            )
            weights = points.weights[level] * positives[level]
            classes = weights[where].to(share) * kl_rows(
                own[where], other[where], self.kd_tau
            )
            scale = self.kd_weight * self.kd_tau**2 / own.shape[1]
            terms.append(
                self.images / images * boxes.sum()
                + scale * classes.sum() / counts[level]
            )
        return torch.stack(terms).sum()

    def regions(self, points: Points) -> list[Tensor]:
        """The values of near misses, ``(N,)`` for the points of each level.

        Points without a weight lie outside of their image: they are neither
        candidates nor near misses.
        """
        if points.priors is None or points.boxes is None:
            raise ValueError(
                f'{self.name}: it needs points.priors and points.boxes, the '
                'anchors of the levels and the ground-truth boxes, for near '
                'misses.'
            )
        anchors = [points.priors(level) for level in range(len(points.labels))]
        counted = [
            (weights > 0).view(points.images, -1) for weights in points.weights
        ]
        values = near_misses(anchors, points.boxes, torch.cat(counted, dim=1))
        levels = values.split([each.shape[1] for each in counted], dim=1)
        return [level.flatten() for level in levels]

    def _over_ranks(self, positives: list[Tensor], images: int) -> Tensor:
        """Positives of each level and images, as means over the ranks."""
        counts = torch.stack([each.sum() for each in positives])
        local = torch.cat([counts, counts.new_tensor([images])]).float()
        ranks = world_size() if self.sync_stats else 1
        total = global_sum(local, self.sync_stats)
        # without a positive the term is 0
        return total.clamp(min=1) / ranks
