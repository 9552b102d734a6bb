"""AB: match the side of the ReLU boundary that each neuron is on (Heo)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from luminet_mm.connectors import make_connector
from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import REPDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.registry import MODELS


def ab_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    margin: float = 1.0,
    sync: bool = False,
) -> Tensor:
    r"""Distance of neurons from the teacher's side of the ReLU boundary.

    .. math:: L = \mathrm{mean}_B \sum_{c,h,w}
              \begin{cases} \max(\mu - s, 0)^2 & t > 0 \\
              \max(\mu + s, 0)^2 & t \le 0 \end{cases}

    with the margin :math:`\mu`. The sum over positions grows with the
    resolution.

    Args:
        student: ``(B, C, H, W)`` maps before a ReLU.
        teacher: The same shape; only its signs matter.
        margin: Sufficient distance from the boundary.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> student = torch.tensor([0.5, 0.5, 2.0]).view(1, 3, 1, 1)
        >>> teacher = torch.tensor([3.0, -3.0, 0.1]).view(1, 3, 1, 1)
        >>> ab_loss(student, teacher)  # 0.5² + 1.5² + 0
        tensor(2.5000)
    """
    missing = margin - torch.where(teacher > 0, student, -student)
    return global_mean(missing.relu().square().sum(dim=(1, 2, 3)), sync=sync)


@MODELS.register_module()
class ABLoss(FeatureLoss):
    r"""Activation boundaries, see :func:`ab_loss`.

    `Knowledge Transfer via Distillation of Activation Boundaries Formed by
    Hidden Neurons <https://arxiv.org/abs/1811.03233>`_:

    .. math:: L = \frac{3}{1000} \sum_{l=0}^{n-1} 2^{l-n+1} L_l

    over maps from shallow to deep. The code in :attr:`card` compares all
    stages before their last ReLU (``backbone.layer1.preact``, ...). As
    published, it is the only loss in a first training phase, with weight 1;
    cross entropy and KD follow.

    If a student's map has the teacher's shape, it is compared directly.
    Otherwise it passes through FitNet's regressor, without its ReLU.

    Args:
        margin: Sufficient distance from the boundary, > 0.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import ABLoss
        >>> student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4)
        >>> loss = ABLoss().build(student, teacher)  # adapts channels and size
        >>> loss(student, teacher).backward()
        >>> [tuple(weight.shape) for weight in loss.parameters()]
        [(6, 4, 3, 3), (6,), (6,), (6,)]
    """

    card = Card(
        title='AB',
        key='ab',
        paper=Paper(
            'Knowledge Transfer via Distillation of Activation '
            'Boundaries Formed by Hidden Neurons',
            'Heo et al. 2019',
            'https://arxiv.org/abs/1811.03233',
        ),
        sources=(REPDISTILLER.at('distiller_zoo/AB.py', 'models/util.py'),),
        signals=Signals('maps before ReLU'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=1.0)),
            detector=Use(settings=dict(loss_weight=0.04), published=False),
        ),
    )

    dims = (4,)
    has_connectors = True

    def __init__(self, *, margin: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.margin = self._number('margin', margin, positive=True)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        self.connectors = nn.ModuleList()
        for ours, theirs in zip(student, teacher, strict=True):
            regressor = dict(type='regressor', last_relu=False)
            self.connectors.append(
                nn.Sequential()
                if ours[1:] == theirs[1:]
                else make_connector(regressor, ours, theirs)
            )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        deepest = len(student) - 1
        terms = self.total(
            ab_loss(ours, theirs, margin=self.margin, sync=self.sync_stats)
            / 2 ** (deepest - level)
            for level, (ours, theirs) in enumerate(
                zip(
                    self.connect(self.connectors, student, teacher),
                    teacher,
                    strict=True,
                )
            )
        )
        return terms * (3 / 1000)
