"""CC: correlation congruence between images (Peng et al.)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from luminet_mm.distributed import global_rows
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import REPDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import pooled, unit
from luminet_mm.registry import MODELS

FORMS = ('consecutive', 'kernel')


def cc_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    form: str,
    gamma: float = 0.4,
    order: int = 2,
    sync: bool = False,
) -> Tensor:
    r"""Correlation congruence of two models' embeddings.

    ``'consecutive'``, with the element-wise gaps :math:`D_i = |u_i - v_i|`:

    .. math:: L = \tfrac{1}{B-1} \sum_{i<B} \langle D_i, D_{i+1} \rangle

    It depends on the order of the rows, and relates each row only to the next.

    ``'kernel'``, with the Taylor expansion of a Gaussian kernel on unit
    vectors, :math:`K_{ij}(u) = e^{-2\gamma} \sum_{p=0}^{P}
    \frac{(2\gamma)^p}{p!} \langle \hat u_i, \hat u_j \rangle^p`:

    .. math:: L = |K(u) - K(v)|_F^2 / B^2

    Args:
        student: ``(B, D)``.
        teacher: ``(B, D)``; for the kernel of any width.
        form: One of :data:`FORMS`.
        gamma: Width of the kernel.
        order: Highest power of the expansion, :math:`P`.
        sync: Whether to relate the rows of all ranks, in rank order.

    Returns:
        Scalar; 0 with fewer than two rows.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[3., 0.], [2., 0.]])
        >>> cc_loss(student, torch.zeros(2, 2), form='consecutive')  # 3 * 2
        tensor(6.)
        >>> cc_loss(student, 5 * student, form='kernel')  # no lengths
        tensor(0.)
    """
    if form == 'consecutive':
        gaps = global_rows((student - teacher).abs(), sync)
        return (gaps[:-1] * gaps[1:]).sum() / max(len(gaps) - 1, 1)
    ours, theirs = (
        _kernel(unit(rows), gamma, order)
        for rows in (global_rows(student, sync), global_rows(teacher, sync))
    )
    return (ours - theirs).square().sum() / max(ours.numel(), 1)


def _kernel(rows: Tensor, gamma: float, order: int) -> Tensor:
    cosines = rows @ rows.T
    series = torch.ones_like(cosines)
    for power in range(order, 0, -1):
        series = 1 + 2 * gamma / power * cosines * series
    return math.exp(-2 * gamma) * series


@MODELS.register_module()
class CCLoss(FeatureLoss):
    """Correlation congruence, see :func:`cc_loss`.

    `Correlation Congruence for Knowledge Distillation
    <https://arxiv.org/abs/1904.01802>`_; ``'kernel'`` is the paper's form.
    Published tables compare with ``'consecutive'``; the code in :attr:`card`
    uses weight 0.02 on the pooled vectors before the classifier, both embedded
    in 128 dimensions by a trained linear layer.

    Maps are pooled; the losses of several features add up.

    Args:
        form: ``'consecutive'`` or ``'kernel'``.
        embed_dim: Width of the trained linear embeddings of both sides; None
            compares the features directly, which for ``'consecutive'``
            requires equal channels.
        gamma: Width of the kernel, > 0.
        order: Highest power of the kernel's expansion, >= 1.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import CCLoss
        >>> student, teacher = torch.randn(6, 64), torch.randn(6, 256)
        >>> loss = CCLoss(loss_weight=0.02).build(student, teacher)
        >>> loss(student, teacher).backward()
        >>> [tuple(weight.shape) for weight in loss.parameters()]
        [(128, 64), (128,), (128, 256), (128,)]
    """

    card = Card(
        title='CC',
        key='cc',
        paper=Paper(
            'Correlation Congruence for Knowledge Distillation',
            'Peng et al. 2019',
            'https://arxiv.org/abs/1904.01802',
        ),
        sources=(REPDISTILLER.at('distiller_zoo/CC.py', 'models/util.py'),),
        signals=Signals('vectors'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=0.02)),
            detector=Use(settings=dict(loss_weight=0.001), published=False),
        ),
    )

    def __init__(
        self,
        *,
        form: str = 'consecutive',
        embed_dim: int | None = 128,
        gamma: float = 0.4,
        order: int = 2,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.form = self._choice('form', form, FORMS)
        self.gamma = self._number('gamma', gamma, positive=True)
        if embed_dim is not None:
            self._whole('embed_dim', embed_dim)
        self.embed_dim = embed_dim
        self.order = self._whole('order', order)
        self.has_connectors = embed_dim is not None
        self.same_width = embed_dim is None and form == 'consecutive'

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        assert self.embed_dim is not None
        self.student_embeds, self.teacher_embeds = (
            nn.ModuleList(nn.Linear(s[1], self.embed_dim) for s in shapes)
            for shapes in (student, teacher)
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        student = [pooled(feature) for feature in student]
        teacher = [pooled(feature) for feature in teacher]
        if self.has_connectors:
            student = self.connect(self.student_embeds, student)
            teacher = self.connect(self.teacher_embeds, teacher)
        return self.total(
            cc_loss(
                ours,
                theirs,
                form=self.form,
                gamma=self.gamma,
                order=self.order,
                sync=self.sync_stats,
            )
            for ours, theirs in zip(student, teacher, strict=True)
        )
