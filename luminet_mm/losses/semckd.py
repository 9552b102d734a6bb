"""SemCKD: each student map learns from matching teacher maps (Chen)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.distributed import global_mean, global_rows
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import SIMKD, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import pool_to_smaller
from luminet_mm.registry import MODELS


def layer_attention(
    queries: Sequence[Tensor], keys: Sequence[Tensor], *, tau: float = 1.0
) -> Tensor:
    r"""How much each student layer learns from each teacher layer.

    .. math:: A_{bij} = \mathrm{softmax}_j
              (\hat q_{bi} \cdot \hat k_{bj} / \tau)

    with queries and keys of length 1.

    Args:
        queries: ``(B, D)`` for each student layer i.
        keys: ``(B, D)`` for each teacher layer j.
        tau: Temperature.

    Returns:
        ``(B, student layers, teacher layers)``; sums to 1 over the last.
    """
    q, k = (
        F.normalize(torch.stack(list(side), dim=1), dim=2)
        for side in (queries, keys)
    )
    return (torch.bmm(q, k.transpose(1, 2)) / tau).softmax(dim=2)


def semckd_loss(
    distances: Tensor, attention: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Distances of all pairs of layers, weighted by their attention.

    .. math:: L = \frac{1}{B L_s} \sum_{b,i,j} A_{bij} \, d_{bij}

    Args:
        distances: ``(B, student layers, teacher layers)``: squared distance
            of the student's projected map to the teacher's, mean over the
            elements.
        attention: The same shape, from :func:`layer_attention`.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> distances = torch.tensor([[[1., 3.]]])  # of one map to two
        >>> attention = torch.tensor([[[0.5, 0.5]]])
        >>> semckd_loss(distances, attention)
        tensor(2.)
    """
    rows = (attention * distances).sum(dim=2).mean(dim=1)
    return global_mean(rows, sync=sync)


def _projector(inputs: int, outputs: int) -> nn.Sequential:
    hidden = 2 * outputs
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, outputs, 1, bias=False),
    )


def _embedding(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 2 * outputs),
        nn.ReLU(),
        nn.Linear(2 * outputs, outputs),
    )


@MODELS.register_module()
class SemCKDLoss(FeatureLoss):
    r"""Semantic calibration, see :func:`semckd_loss`.

    `Cross-Layer Distillation with Semantic Calibration
    <https://arxiv.org/abs/2012.03236>`_. Every student map is compared with
    every teacher map, and an attention weights the pairs, image by image.
    Queries and keys are computed from an image's similarities to the images of
    the batch, a row of :math:`f f^T` with flattened maps :math:`f`. The code
    in :attr:`card` compares all stages (``backbone.layer1``, ...) with weight
    400, with cross entropy and KD (tau 4).

    The numbers of student maps and of teacher maps may differ. All images must
    have maps of the same size, with ``sync_stats`` on all ranks.

    The batch size is the input size of a layer, so every step needs exactly
    that many images: set ``drop_last=True`` in ``train_dataloader``.

    Args:
        batch_size: Number of images in a step: of all ranks together, or of
            one rank with ``sync_stats=False``.
        tau: Temperature of the attention, > 0.
        factor: Queries and keys have ``batch_size // factor`` numbers. A
            single number would only have a sign, and nothing is learned from
            it.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import SemCKDLoss
        >>> student = [torch.rand(8, 4, 8, 8)]
        >>> teacher = [torch.rand(8, 6, 8, 8), torch.rand(8, 9, 4, 4)]
        >>> loss = SemCKDLoss(batch_size=8, loss_weight=400.0)
        >>> loss = loss.build(student, teacher)  # one map is compared with two
        >>> loss(student, teacher).backward()
        >>> all(weight.grad is not None for weight in loss.parameters())
        True
    """

    card = Card(
        title='SemCKD',
        key='semckd',
        paper=Paper(
            'Cross-Layer Distillation with Semantic Calibration',
            'Chen et al. 2021',
            'https://arxiv.org/abs/2012.03236',
        ),
        sources=(SIMKD.at('distiller_zoo/SemCKD.py', 'models/util.py'),),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(
                options=dict(batch_size=64), settings=dict(loss_weight=400.0)
            ),
        ),
        needs=('a fixed batch size',),
    )

    dims = (4,)
    has_connectors = True

    def __init__(
        self,
        *,
        batch_size: int,
        tau: float = 1.0,
        factor: int = 4,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.factor = self._whole('factor', factor)
        if not isinstance(batch_size, int) or batch_size < factor:
            raise ValueError(
                f'{self.name}: batch_size is {batch_size!r}; set a whole '
                f'number, {factor} (the factor) or more.'
            )
        self.batch_size = batch_size
        self.tau = self._number('tau', tau, positive=True)

    def _check_pairs(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        # any number on each side, of the same images
        rows = {len(feature) for feature in (*ours, *theirs)}
        if not ours or not theirs or len(rows) > 1:
            raise ValueError(
                f'{self.name}: the student has features of shape '
                f'{[tuple(x.shape) for x in ours]} and the teacher '
                f'{[tuple(x.shape) for x in theirs]}; this loss needs one or '
                'more on both sides, with equal rows. Name other signals.'
            )

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        numbers = self.batch_size // self.factor
        self.queries, self.keys = (
            nn.ModuleList(_embedding(self.batch_size, numbers) for _ in side)
            for side in (student, teacher)
        )
        self.projectors = nn.ModuleList(
            _projector(ours[1], theirs[1])
            for ours in student
            for theirs in teacher
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        layers = len(self.queries), len(self.keys)
        if (len(student), len(teacher)) != layers:
            raise ValueError(
                f'{self.name}: {len(student)} maps of the student and '
                f'{len(teacher)} of the teacher; it was built for {layers[0]} '
                f'and {layers[1]} and needs exactly these numbers.'
            )
        attention = layer_attention(
            self.connect(self.queries, self._similarities(student)),
            self.connect(self.keys, self._similarities(teacher)),
            tau=self.tau,
        )
        pairs = [
            pool_to_smaller(ours, theirs)
            for ours in student
            for theirs in teacher
        ]
        projected = self.connect(self.projectors, [ours for ours, _ in pairs])
        distances = torch.stack(
            [
                (ours - theirs).square().mean(dim=(1, 2, 3))
                for ours, (_, theirs) in zip(projected, pairs, strict=True)
            ],
            dim=1,
        )
        return semckd_loss(
            distances.view(len(distances), *layers),
            attention,
            sync=self.sync_stats,
        )

    def _similarities(self, features: list[Tensor]) -> list[Tensor]:
        """Inner products ``(B, batch_size)`` with the images of the step."""
        rows = [feature.flatten(1) for feature in features]
        # one collective for all layers
        everyone = global_rows(torch.cat(rows, dim=1), self.sync_stats)
        images = len(everyone)
        if images not in (0, self.batch_size):
            raise ValueError(
                f'{self.name}: batch_size is {self.batch_size}, but this step '
                f'has {images} images'
                + (' on all ranks' if self.sync_stats else '')
                + '. Set batch_size to the number of images in a step, and '
                'drop_last=True in train_dataloader for the last one.'
            )
        parts = everyone.split([each.shape[1] for each in rows], dim=1)
        return [
            F.pad(mine @ every.T, (0, self.batch_size - images))
            for mine, every in zip(rows, parts, strict=True)
        ]
