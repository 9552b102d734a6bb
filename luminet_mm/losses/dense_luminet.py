"""LumiNet on dense heads, an extension of this project."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import Points
from luminet_mm.losses.base.card import Card, Paper, Signals, Use
from luminet_mm.losses.base.dense import DenseLoss, precise
from luminet_mm.losses.base.point_rows import (
    POINT_ROWS,
    Picked,
    level_moments,
    pick_points,
)
from luminet_mm.losses.binary_kd import binary_kl
from luminet_mm.losses.kd import unscaled_kl_rows
from luminet_mm.registry import MODELS

FORMS = ('sigmoid', 'softmax')


@MODELS.register_module()
class DenseLumiNetLoss(DenseLoss):
    r"""LumiNet of the points of a one-stage detector.

    An extension of this project: `LumiNet
    <https://arxiv.org/abs/2310.03669>`_ is published for heads with a softmax
    over classes, and no result of it on dense heads is. Each class
    :math:`j` is standardised over chosen points of all levels (and ranks),
    separately for each model; the gradient flows through the student's mean
    and variance:

    .. math:: h_{aj} = \frac{z_{aj} - \mathrm{mean}_j}
                       {\tau \sqrt{\mathrm{var}_j + \epsilon}}

    and the loss, averaged over chosen points, is for a point :math:`a`

    .. math:: \sum_j \mathrm{KL}(\sigma(h^t_{aj})\,\|\,\sigma(h^s_{aj}))
              \quad\text{or}\quad
              \mathrm{KL}(\mathrm{softmax}(h^t_a)\,\|\,
              \mathrm{softmax}(h^s_a))

    with a sigmoid :math:`\sigma` for each class, or the softmax of the
    published loss. The softmax compares classes of an object and nothing
    else: it ignores the level of all scores of a point, which is what says
    "no object". With ``form='softmax'`` and ``'all'`` rows that count alike
    it is the published LumiNet of those rows.

    With fewer than two points for the statistics the loss is 0.

    Args:
        form: ``'sigmoid'`` or ``'softmax'``.
        rows: Points that the loss is averaged over: ``'foreground'``, those
            to which the head assigned an object; ``'top_k'``, those of each
            image with the teacher's highest scores; ``'all'``, each with its
            label weight.
        stats_rows: Points for mean and variance, likewise.
        top_k: Number of points of an image for ``'top_k'``.
        tau: Temperature, > 0.
        eps: Added to the variance, > 0, so that no class is divided by less
            than its root.
        kwargs: Options of :class:`DenseLoss`.

    Raises:
        ValueError: If ``form='softmax'`` meets one class, whose softmax is
            always 1.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import (
        ...     DenseLumiNetLoss, DistillBatch, Points)
        >>> points = Points(
        ...     labels=[torch.tensor([0, 1]), torch.tensor([1, 2])],
        ...     weights=[torch.ones(2), torch.ones(2)],
        ...     num_pos=torch.tensor(3.0), decode=lambda level, rows: rows)
        >>> student = [torch.tensor([[1., 2], [0, -1]]), torch.zeros(2, 2)]
        >>> teacher = [torch.tensor([[3., 1], [-1, 0]]), torch.ones(2, 2)]
        >>> batch = DistillBatch(points=points)
        >>> DenseLumiNetLoss()(student, teacher, batch)
        tensor(0.0844)
        >>> scaled = [3 * each + 7 for each in teacher]  # no scale, no shift
        >>> DenseLumiNetLoss()(scaled, teacher, batch) < 1e-6
        tensor(True)
    """

    card = Card(
        title='Dense LumiNet',
        key='dense_luminet',
        paper=Paper(
            'LumiNet: The Bright Side of Perceptual Knowledge Distillation',
            'Hossain et al. 2023',
            'https://arxiv.org/abs/2310.03669',
        ),
        signals=Signals('logits'),
        uses=dict(
            dense=Use(
                settings=dict(tau=1.0, loss_weight=0.6), published=False
            ),
            detector=Use(signals=Signals('objectness')),
        ),
        statistics='points, per class',
        formula='`Σ_c KL(sigmoid(h_t / tau) ‖ sigmoid(h_s / tau))` or '
        "LumiNet's KL of softmax, `h` as in LumiNet over chosen points; an "
        'extension of this project, no published result',
        formula_alone=True,
    )

    def __init__(
        self,
        *,
        form: str = 'sigmoid',
        rows: str = 'foreground',
        stats_rows: str = 'foreground',
        top_k: int = 100,
        tau: float = 1.0,
        eps: float = 1e-5,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.form = self._choice('form', form, FORMS)
        self.rows = self._choice('rows', rows, POINT_ROWS)
        self.stats_rows = self._choice('stats_rows', stats_rows, POINT_ROWS)
        self.top_k = self._whole('top_k', top_k)
        self.tau = self._temperature(tau)
        self.eps = self._number('eps', eps, positive=True)

    def compute_all(
        self,
        student: list[list[Tensor]],
        teacher: list[list[Tensor]],
        points: Points,
    ) -> Tensor:
        """See :meth:`DenseLoss.compute_all`."""
        (ours,), (theirs,) = student, teacher
        if self.form == 'softmax' and ours[0].shape[1] < 2:
            raise ValueError(
                f"{self.name}: form='softmax' compares classes with each "
                "other, and there is one. Set form='sigmoid'."
            )
        chosen = {
            rows: pick_points(points, theirs, rows, self.top_k)
            for rows in {self.rows, self.stats_rows}
        }
        counted = chosen[self.rows]
        weights = [precise(each.weights, ours[0]) for each in counted]
        total = torch.stack([each.sum() for each in weights]).sum()
        shift, scale, total = self._statistics(
            ours, theirs, chosen[self.stats_rows], total
        )
        values = []
        for level, picked in enumerate(counted):
            both = zip(_pair(ours, theirs, level, picked), shift, scale)
            h_student, h_teacher = [(z - m) * k for z, m, k in both]
            if self.form == 'sigmoid':
                values.append(binary_kl(h_student, h_teacher).sum(dim=1))
            else:
                values.append(unscaled_kl_rows(h_student, h_teacher))
        return global_mean(
            torch.cat(values),
            torch.cat(weights),
            self.sync_stats,
            total=total,
        )

    def _statistics(
        self,
        ours: list[Tensor],
        theirs: list[Tensor],
        picked: list[Picked],
        total: Tensor,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        """Means and factors of both models' classes; the loss's weights."""
        levels = [
            _pair(ours, theirs, level, each)
            for level, each in enumerate(picked)
        ]
        moments = level_moments(
            levels,
            [precise(each.weights, ours[0]) for each in picked],
            total,
            self.sync_stats,
        )
        variance = moments.comoment / moments.weight.clamp(min=1)
        scale = torch.rsqrt(variance + self.eps) / self.tau
        # fewer than two points say nothing about the others' deviation
        scale = scale * (moments.weight >= 2)
        return moments.mean_x.chunk(2), scale.chunk(2), moments.total


def _pair(
    ours: list[Tensor], theirs: list[Tensor], level: int, picked: Picked
) -> list[Tensor]:
    """Both models' logits of a level's chosen points."""
    own, other = picked.of(ours[level]), picked.of(theirs[level])
    return [precise(own, own), precise(other, own)]
