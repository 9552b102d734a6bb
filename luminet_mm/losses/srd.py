"""SRD: a simple recipe of projector, batch norm and LogSum (Miles)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from luminet_mm.config_types import type_name
from luminet_mm.connectors import make_connector
from luminet_mm.distributed import (
    all_reduce_with_grad,
    global_moments,
    row_total,
)
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.rows import RowsLoss, feature_rows
from luminet_mm.registry import MODELS

FORMS = ('elementwise', 'correlation')
CONNECTORS = ('linear', 'mlp', 'orthogonal')


def srd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    form: str = 'elementwise',
    exponent: float = 4.0,
    eps: float = 1e-4,
    log_eps: float = 1e-5,
    sync: bool = False,
) -> Tensor:
    r"""Logarithm of the summed distances of two normalised features.

    Each column is normalised over the rows, separately for each model,
    :math:`n(x) = (x - \mathrm{mean}) / \sqrt{\mathrm{var} + \epsilon}` with
    the biased variance. With the exponent :math:`\alpha`, the forms are

    .. math::
        L &= \log\Big( \sum_{n, d} |n(s)_{nd} - n(t)_{nd}|^\alpha
             + \epsilon_{\log} \Big) \\
        L &= \log\Big( \sum_d \big|1 - \mathrm{mean}_n\,
             n(s)_{nd}\, n(t)_{nd}\big|^\alpha + \epsilon_{\log} \Big)

    The value starts near :math:`\log(12 N D)` and may become negative. A mean
    instead of a sum would only shift it: the gradient is the same.

    Args:
        student: ``(N, D)``, projected.
        teacher: ``(N, D)``; detach it if it carries a graph.
        form: ``'elementwise'`` or ``'correlation'``.
        exponent: Power of a distance, >= 1.
        eps: Added to the variance, inside the root.
        log_eps: Added to the sum: equal features give its logarithm.
        sync: Whether statistics and sum are over the rows of all ranks.

    Returns:
        Scalar; 0 without rows. A single row carries no information: the
        element-wise form is then the logarithm of ``log_eps``.

    Examples:
        >>> one = torch.tensor([[1., 5.], [3., -5.], [2., 0.]])
        >>> srd_loss(3 * one + 1, one, form='correlation')  # log(1e-5)
        tensor(-11.5129)
    """
    if form == 'elementwise':
        # Side by side, so that one collective carries all statistics.
        both = torch.cat([student, teacher], dim=1)
        moments = global_moments(both, both, row_total(both), sync=sync)
        count = moments.weight.clamp(min=1)
        scale = torch.rsqrt(moments.comoment / count + eps)
        ours, theirs = ((both - moments.mean_x) * scale).chunk(2, dim=1)
        total = (ours - theirs).abs().pow(exponent).sum()
        if sync:
            total = all_reduce_with_grad(total)
    else:
        moments = global_moments(
            torch.cat([student, teacher, student], dim=1),
            torch.cat([student, teacher, teacher], dim=1),
            row_total(student),
            sync=sync,
        )
        count = moments.weight.clamp(min=1)
        ss, tt, st = (moments.comoment / count).chunk(3)
        correlation = st * torch.rsqrt(ss + eps) * torch.rsqrt(tt + eps)
        total = (1 - correlation).abs().pow(exponent).sum()
    return torch.log(total + log_eps) * (moments.weight > 0)


@MODELS.register_module()
class SRDLoss(RowsLoss):
    """Projector, batch norm and LogSum, see :func:`srd_loss`.

    `Understanding the Role of the Projector in Knowledge Distillation
    <https://arxiv.org/abs/2303.11098>`_. The implementations in :attr:`card`
    compare the pooled last map: on ImageNet with weight 2 with cross entropy
    and KD of tau 1, for DeiT with weight 1 in the correlation form, on
    CIFAR-100 with ``dict(type='mlp', hidden=1024)`` as connector.

    A connector, used even between equal widths, maps the student to the
    teacher's width; losses of several features add up. The statistics are
    always the batch's, with ``sync_stats`` those of all ranks' rows. Two rows
    are normalised to plus and minus 1, so if a rank has few images, use a
    signal with many rows: a vector for each box, or maps with
    ``rows='positions'``.

    Args:
        connector: ``'linear'``, ``'mlp'`` or ``'orthogonal'``, see
            :mod:`luminet_mm.connectors`. It has no final bias, which the
            normalisation would subtract again.
        form: ``'elementwise'`` or ``'correlation'``; their values and weights
            cannot be compared.
        exponent: Power of a distance, >= 1.
        eps: Added to the variance, > 0.
        log_eps: Added inside the logarithm, >= 0. The authors' element-wise
            form has none and is infinite if the features are equal.
        kwargs: Options of :class:`~luminet_mm.losses.base.rows.RowsLoss`; a
            DeiT's tokens are ``student='backbone.ln1'`` with
            ``extra_tokens=2``.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import SRDLoss
        >>> student, teacher = torch.randn(6, 10, 4), torch.randn(6, 8, 3, 3)
        >>> loss = SRDLoss(extra_tokens=1)  # a class token, then patches
        >>> loss = loss.build(student, teacher)
        >>> loss(student, teacher).backward()
        >>> [tuple(weight.shape) for weight in loss.parameters()]
        [(8, 4)]
    """

    card = Card(
        title='SRD, the projector recipe',
        key='srd',
        paper=Paper(
            'Understanding the Role of the Projector in Knowledge '
            'Distillation',
            'Miles and Mikolajczyk 2024',
            'https://arxiv.org/abs/2303.11098',
        ),
        sources=(
            Source(
                'roymiles/Simple-Recipe-Distillation',
                '31e8477',
                '',
                (
                    'imagenet/torchdistill/losses/single.py',
                    'deit/models.py',
                ),
            ),
            Source(
                'yoshitomo-matsubara/torchdistill',
                '3e4373c',
                'MIT',
                ('torchdistill/losses/mid_level.py',),
            ),
        ),
        signals=Signals('vectors'),
        uses=dict(
            classifier=Use(
                settings=dict(
                    connector=dict(type='mlp', hidden=1024), loss_weight=2.0
                )
            ),
            detector=Use(settings=dict(loss_weight=0.4), published=False),
        ),
        needs=('more than two rows',),
    )

    has_connectors = True

    def __init__(
        self,
        *,
        connector: str | dict = 'linear',
        form: str = 'elementwise',
        exponent: float = 4.0,
        eps: float = 1e-4,
        log_eps: float = 1e-5,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(connector, dict):
            self._choice('connector', type_name(connector), CONNECTORS)
        else:
            self._choice('connector', connector, CONNECTORS)
        self.connector = connector
        self.form = self._choice('form', form, FORMS)
        self.exponent = self._number('exponent', exponent)
        if exponent < 1:
            raise ValueError(
                f'{self.name}: exponent is {exponent!r}; set a number >= 1: '
                'the gradient of a smaller one is infinite at equal features.'
            )
        self.eps = self._number('eps', eps, positive=True)
        self.log_eps = self._number('log_eps', log_eps)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`RowsLoss.make_connectors`."""
        self.connectors = nn.ModuleList(
            make_connector(self.connector, ours[:2], theirs[:2])
            for ours, theirs in zip(student, teacher, strict=True)
        )
        for connector in self.connectors:
            last = [*connector.modules()][-1]
            if isinstance(last, nn.Linear):
                last.register_parameter('bias', None)

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
            srd_loss(
                ours,
                theirs,
                form=self.form,
                exponent=self.exponent,
                eps=self.eps,
                log_eps=self.log_eps,
                sync=self.sync_stats,
            )
            for ours, (_, theirs) in zip(projected, pairs, strict=True)
        )
