"""SDD: logits of an image's regions, beside its own (Wei et al.)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.dkd import dkd_rows
from luminet_mm.losses.kd import kl_rows
from luminet_mm.models.pooled_heads import PooledHead
from luminet_mm.registry import MODELS

FINEST = 4
SCALES = (1, 2, 4)
"""Regions along each side of a map; the coarser pool the finest."""


def region_means(maps: Tensor, scales: Sequence[int] = SCALES) -> Tensor:
    """Means of a map over regions of several sizes.

    The map is pooled adaptively to 4 x 4 cells, and these to the other
    scales. Cells of maps that are smaller repeat.

    Args:
        maps: ``(B, C, H, W)``.
        scales: Some of :data:`SCALES`, in order.

    Returns:
        ``(B, R, C)``, scale by scale and row by row.

    Examples:
        >>> import torch
        >>> maps = torch.arange(16.).view(1, 1, 4, 4)
        >>> region_means(maps, [1, 2]).flatten()
        tensor([ 7.5000,  2.5000,  4.5000, 10.5000, 12.5000])
    """
    cells = F.adaptive_avg_pool2d(maps, FINEST)
    regions = [
        F.avg_pool2d(cells, FINEST // scale).flatten(2) for scale in scales
    ]
    return torch.cat(regions, dim=2).transpose(1, 2)


def sdd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    tau: float,
    base: str = 'kd',
    alpha: float = 1.0,
    beta: float = 8.0,
    complementary_weight: float = 2.0,
    sync: bool = False,
) -> Tensor:
    r"""KD or DKD of the logits of R regions.

    .. math:: L = \frac{\tau^2}{B R} \sum_{i,r} w_{ir}\,
              D(t_{ir} / \tau, s_{ir} / \tau)

    with the divergence D of KD or DKD, and w the ``complementary_weight``
    where the teacher is right on the image and wrong on the region, or the
    reverse, else 1.

    Args:
        student_logits: ``(B, R, C)``; region 0 is the whole image.
        teacher_logits: The same shape; detach it if it carries a graph.
        labels: ``(B,)`` int64 class in ``[0, C)``.
        tau: Temperature.
        base: ``'kd'`` or ``'dkd'``.
        alpha: Weight of DKD's target term.
        beta: Weight of DKD's non-target term.
        complementary_weight: Weight of regions that contradict the image.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without images.

    Examples:
        >>> import torch
        >>> student = torch.zeros(1, 2, 2)  # one image, one region of it
        >>> teacher = torch.tensor([[[99., 0.], [0., 99.]]])
        >>> label = torch.tensor([0])
        >>> sdd_loss(student, teacher, label, tau=1.0)  # (1 + 2) / 2 log(2)
        tensor(1.0397)
    """
    images, regions, classes = student_logits.shape
    ours, theirs = (
        (logits / tau).flatten(0, 1)
        for logits in (student_logits, teacher_logits)
    )
    if base == 'dkd':
        of_region = labels.repeat_interleave(regions)
        values = dkd_rows(ours, theirs, of_region, alpha=alpha, beta=beta)
    else:
        values = kl_rows(ours, theirs, tau=1.0)
    right = teacher_logits.argmax(dim=2) == labels[:, None]
    contradicts = (right != right[:, :1]).to(values)
    weights = 1 + (complementary_weight - 1) * contradicts
    values = weights * values.view(images, regions)
    return tau**2 * global_mean(values.mean(dim=1), sync=sync)


@MODELS.register_module()
class SDDLoss(FeatureLoss):
    """Scale decoupled distillation of classifiers, see :func:`sdd_loss`.

    `Scale Decoupled Distillation <https://arxiv.org/abs/2403.13512>`_. The
    means of the last map over regions (:func:`region_means`) pass each
    network's own classifier. The code in :attr:`card` uses tau 4, with KD
    ``0.1 CE + 0.9 SDD``, with DKD all weights 1, beta 8 and 20 epochs of
    warm-up; scales 1 and 2 for ResNets, 1, 2 and 4 for ShuffleNets and
    MobileNets. There a loss that is not finite is replaced by 0; here it is
    an error.

    The signal is ``'backbone'``, whose last map the classifier pools. Both
    networks have to be ImageClassifiers with GlobalAveragePooling and
    LinearClsHead. The head of RoIs has layers between map and scores, so
    there is no such loss for detectors. Needs ``batch.labels``.

    Args:
        tau: Temperature, > 0.
        base: ``'kd'`` or ``'dkd'``.
        scales: Regions along each side, from 1, 2 and 4, starting with 1.
        complementary_weight: Weight of regions on which the teacher is right
            and on the image wrong, or the reverse, >= 0.
        alpha: Weight of DKD's target term, >= 0.
        beta: Weight of DKD's non-target term, >= 0.
        kwargs: Options of :class:`FeatureLoss`; ``levels`` is the last by
            default.

    Raises:
        ValueError: An argument is out of its range, or a network's logits are
            not a linear layer of the pooled map.

    Examples:
        >>> from luminet_mm.losses import SDDLoss
        >>> loss = SDDLoss(scales=[1, 2])  # a distiller lets it read both
        >>> loss.levels, loss.scales
        ((-1,), (1, 2))
    """

    card = Card(
        title='SDD',
        key='sdd',
        paper=Paper(
            'Scale Decoupled Distillation',
            'Wei et al. 2024',
            'https://arxiv.org/abs/2403.13512',
        ),
        sources=(
            Source(
                'shicaiwei123/SDD-CVPR2024',
                'e412036',
                'MIT',
                (
                    'mdistiller/distillers/KD.py',
                    'mdistiller/distillers/SDD_DKD.py',
                    'mdistiller/models/cifar/utils.py',
                ),
            ),
        ),
        signals=Signals('pooled map'),
        uses=dict(
            classifier=Use(
                options=dict(scales=[1, 2]),
                settings=dict(tau=4.0, loss_weight=0.9),
                ce=0.1,
            ),
        ),
        needs=('labels', 'GlobalAveragePooling and LinearClsHead in both'),
        formula=(
            '`tau² w D(t / tau, s / tau)` of the logits of each region of the '
            'last map, with the divergence of KD or DKD; `w` 2 where the '
            'teacher is right on the image or the region alone'
        ),
    )

    dims = (4,)
    runs_classifiers = True

    def __init__(
        self,
        *,
        tau: float = 4.0,
        base: str = 'kd',
        scales: Sequence[int] = (1, 2, 4),
        complementary_weight: float = 2.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        levels: Sequence[int] | None = (-1,),
        **kwargs,
    ) -> None:
        super().__init__(levels=levels, **kwargs)
        self.tau = self._temperature(tau)
        self.base = self._choice('base', base, ('kd', 'dkd'))
        self.scales = tuple(scales)
        if self.scales[:1] != (1,) or not {*self.scales} <= {*SCALES}:
            raise ValueError(
                f'{self.name}: scales is {scales!r}; set a list of 1, 2 and '
                '4 that starts with 1.'
            )
        self.complementary_weight = self._number(
            'complementary_weight', complementary_weight
        )
        self.alpha = self._number('alpha', alpha)
        self.beta = self._number('beta', beta)
        self._heads: list[PooledHead] = []

    def read_models(
        self,
        student: nn.Module,
        teacher: nn.Module,
        student_names: Sequence[str],
        teacher_names: Sequence[str],
    ) -> None:
        """See :meth:`DistillLoss.read_models`.

        Raises:
            ValueError: If a signal is not the backbone, a network's logits
                are not a linear layer of its pooled map, or the classes
                differ.
        """
        try:
            for side, names in (
                ('student', student_names),
                ('teacher', teacher_names),
            ):
                if list(names) != ['backbone']:
                    raise ValueError(
                        f"the {side}'s signal is {list(names)}; name "
                        "'backbone', whose last map is pooled."
                    )
            self._heads = [
                PooledHead(student, 'student'),
                PooledHead(teacher, 'teacher', shared=True),
            ]
            ours, theirs = (head.num_classes for head in self._heads)
            if ours != theirs:
                raise ValueError(
                    f'the student has {ours} classes and the teacher '
                    f'{theirs}; it compares them one by one. Take a teacher '
                    "of the student's classes."
                )
        except ValueError as error:
            raise ValueError(f'{self.name}: {error}') from None

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        if not self._heads:
            raise ValueError(
                f'{self.name}: it has not read the networks yet. Call '
                'read_models(student, teacher, ...); distillers do this.'
            )
        (ours,), (theirs,) = student, teacher
        labels = self.need(
            batch,
            'labels',
            'the weight of a region',
            'use a loss that needs no labels, such as KD, DIST or LumiNet',
            len(ours),
        )
        logits = [
            head.classify(region_means(maps, self.scales))
            for head, maps in zip(self._heads, (ours, theirs), strict=True)
        ]
        return sdd_loss(
            logits[0],
            logits[1].detach(),
            labels.to(ours.device).long(),
            tau=self.tau,
            base=self.base,
            alpha=self.alpha,
            beta=self.beta,
            complementary_weight=self.complementary_weight,
            sync=self.sync_stats,
        )
