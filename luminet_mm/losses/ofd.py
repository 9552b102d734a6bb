"""OFD: a partial distance before the ReLU (Heo, "comprehensive overhaul")."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.connectors import make_connector
from luminet_mm.distributed import global_mean, global_sum
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import (
    MDISTILLER,
    Card,
    Paper,
    Signals,
    Source,
    Use,
)
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.registry import MODELS


def ofd_loss(
    student: Tensor, teacher: Tensor, margins: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Partial squared distance of two maps before a ReLU.

    With the target :math:`t' = \max(t, m_c)` and :math:`d = s - t'`:

    .. math:: L = \mathrm{mean}_B \sum_{c,h,w}
              \begin{cases} d^2 & t > 0 \\
              \max(d, 0)^2 & t \le 0 \end{cases}

    Values that the ReLU removes from the teacher must be negative in the
    student as well, but need not go below the margin :math:`m_c \le 0`. The
    teacher's maps are average-pooled to the student's size. The sum over
    positions grows with the resolution.

    Args:
        student: ``(B, C, H, W)``.
        teacher: ``(B, C, H', W')``; detach it if it carries a graph.
        margins: ``(C,)``, each channel's mean of its negative values.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> student = torch.tensor([0.5, 0.5]).view(1, 2, 1, 1)
        >>> teacher = torch.tensor([2.0, -3.0]).view(1, 2, 1, 1)
        >>> margins = torch.tensor([-1.0, -1.0])
        >>> ofd_loss(student, teacher, margins)  # (2 - 0.5)² + (0.5 + 1)²
        tensor(4.5000)
    """
    size = student.shape[2], student.shape[3]
    if teacher.shape[2:] != size:
        teacher = F.adaptive_avg_pool2d(teacher, size)
    gap = student - torch.maximum(teacher, margins[:, None, None])
    gap = torch.where(teacher > 0, gap, gap.relu())
    return global_mean(gap.square().sum(dim=(1, 2, 3)), sync=sync)


def gaussian_margins(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Mean of each channel's negative values after a batch norm.

    By its weight :math:`g` and bias :math:`\mu`, :math:`x \sim N(\mu, g^2)`,
    so

    .. math:: E[x \mid x < 0] = \mu - |g| \,
              \frac{\varphi(\mu / g)}{\Phi(-\mu / |g|)}

    and :math:`-3 |g|` where :math:`P(x < 0) = \Phi(-\mu / |g|) \le 0.001`.

    Args:
        weight: ``(C,)``.
        bias: ``(C,)``.

    Returns:
        ``(C,)``, none above 0.

    Examples:
        >>> gaussian_margins(torch.ones(2), torch.tensor([0.0, 5.0]))
        tensor([-0.7979, -3.0000])
    """
    mean, std = bias.detach().double(), weight.detach().double().abs()
    z = mean / std.clamp(min=torch.finfo(std.dtype).tiny)
    negative = torch.special.ndtr(-z)
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    margins = torch.where(
        negative > 0.001,
        mean - std * density / negative.clamp(min=0.001),
        -3 * std,
    )
    return margins.to(bias.dtype)


@MODELS.register_module()
class OFDLoss(FeatureLoss):
    r"""Overhaul of feature distillation, see :func:`ofd_loss`.

    `A Comprehensive Overhaul of Feature Distillation
    <https://arxiv.org/abs/1904.01866>`_:

    .. math:: L = \sum_{l=0}^{n-1} 2^{l-n+1} L_l

    over maps from shallow to deep, where the student's maps have passed a 1x1
    convolution and batch norm. The implementations in :attr:`card` compare all
    stages before their last ReLU (``backbone.layer1.preact``, ...) with weight
    1e-3 on CIFAR-100 and 1e-4 on ImageNet, and run the teacher's batch norms
    in train mode; here the teacher stays in eval mode.

    The margins are each teacher channel's :math:`E[x \mid x < 0]`. The paper
    allows measuring it during training, which works with any teacher and is
    the default: the mean over all negative values seen in training so far, on
    all ranks with ``sync_stats``. It is saved in the checkpoint. The published
    code derives it from the batch norm before the ReLU instead; name these
    batch norms with ``teacher_bn``. After a residual sum this is only an
    estimate, because the batch norm does not see the shortcut.

    For maps that have already passed a ReLU, the margins are 0.

    Args:
        teacher_bn: Dotted paths of the teacher's batch norms, one for each map
            that is compared; the margins are :func:`gaussian_margins` of their
            weights. None measures them.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import OFDLoss
        >>> student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4)
        >>> loss = OFDLoss(loss_weight=1e-3).build([student], [teacher])
        >>> loss([student], [teacher]).backward()
        >>> loss.margins.shape, bool((loss.margins < 0).all())
        (torch.Size([6]), True)
    """

    card = Card(
        title='OFD',
        key='ofd',
        paper=Paper(
            'A Comprehensive Overhaul of Feature Distillation',
            'Heo et al. 2019',
            'https://arxiv.org/abs/1904.01866',
        ),
        sources=(
            MDISTILLER.at('mdistiller/distillers/OFD.py'),
            Source(
                'clovaai/overhaul-distillation',
                '76344a8',
                '',
                ('CIFAR-100/distiller.py',),
            ),
        ),
        signals=Signals('maps before ReLU'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=1e-3)),
            detector=Use(settings=dict(loss_weight=0.0001), published=False),
        ),
    )

    dims = (4,)
    has_connectors = True
    margins: Tensor
    """``(C,)`` for all maps, concatenated."""
    counts: Tensor
    """``(C,)`` int64: number of values in each mean, if measured."""

    def __init__(
        self, *, teacher_bn: str | Sequence[str] | None = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(teacher_bn, str):
            teacher_bn = [teacher_bn]
        self.teacher_bn = None if teacher_bn is None else tuple(teacher_bn)
        self._has_read = False

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        names = self.teacher_bn
        if names is not None and len(names) != len(teacher):
            raise ValueError(
                f'teacher_bn names {len(names)} batch norms for '
                f'{len(teacher)} maps; name one for each, in the same order.'
            )
        self.connectors = nn.ModuleList(
            make_connector('conv_bn', ours, theirs)
            for ours, theirs in zip(student, teacher, strict=True)
        )
        for weight in self.connectors.parameters():
            if weight.dim() == 4:
                nn.init.normal_(weight, std=math.sqrt(2 / len(weight)))
        self._channels = [theirs[1] for theirs in teacher]
        margins = torch.zeros(sum(self._channels))
        self.register_buffer('margins', margins)
        self.register_buffer('counts', torch.zeros_like(margins).long())

    @torch.no_grad()
    def read_teacher(self, model: nn.Module) -> None:
        """Take the margins from the batch norms of ``teacher_bn``, if any.

        Args:
            model: The teacher.

        Raises:
            ValueError: It has no such batch norm.
        """
        parts = self.margins.split(self._channels)
        for name, margins in zip(self.teacher_bn or (), parts):
            try:
                module = model.get_submodule(name)
            except AttributeError:
                raise ValueError(
                    f'{self.name}: teacher_bn names {name!r}, which the '
                    f'teacher ({type(model).__name__}) does not have. Name '
                    'the batch norm before the ReLU by its dotted path, such '
                    "as 'backbone.bn1'."
                ) from None
            weight, bias = (
                getattr(module, key, None) for key in ('weight', 'bias')
            )
            if not (
                isinstance(weight, Tensor)
                and isinstance(bias, Tensor)
                and weight.shape == bias.shape == margins.shape
            ):
                raise ValueError(
                    f'{self.name}: teacher_bn names {name!r}, a '
                    f'{type(module).__name__} without a weight and a bias '
                    f'for {len(margins)} channels. Name the batch norm that '
                    'makes the maps of the signal.'
                )
            margins.copy_(gaussian_margins(weight, bias))
        self._has_read = True

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        if self.teacher_bn is None:
            if self.training:
                self._measure(teacher)
        elif not self._has_read:
            raise ValueError(
                f'{self.name}: teacher_bn is set, but the margins have not '
                'been read. Call read_teacher(teacher) after build; '
                'distillers do this.'
            )
        deepest = len(student) - 1
        triples = zip(
            self.connect(self.connectors, student),
            teacher,
            self.margins.split(self._channels),
            strict=True,
        )
        return self.total(
            ofd_loss(*triple, sync=self.sync_stats) / 2 ** (deepest - level)
            for level, triple in enumerate(triples)
        )

    @torch.no_grad()
    def _measure(self, teacher: list[Tensor]) -> None:
        over = (0, 2, 3)
        totals = torch.cat([x.clamp(max=0).sum(dim=over) for x in teacher])
        counts = torch.cat([(x < 0).sum(dim=over) for x in teacher])
        totals, counts = global_sum(
            torch.stack([totals, counts.to(totals)]), self.sync_stats
        )
        self.counts += counts.long()
        step = (totals - counts * self.margins) / self.counts.clamp(min=1)
        self.margins += step.to(self.margins.dtype)
