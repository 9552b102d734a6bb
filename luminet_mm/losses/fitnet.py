"""FitNet: hints, the squared distance to the teacher's features (Romero)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from luminet_mm.connectors import make_connector
from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.registry import MODELS


def hint_loss(
    student: Tensor, teacher: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Mean squared distance of two features.

    .. math:: L = \mathrm{mean}\,(f_s - f_t)^2

    over all elements.

    Args:
        student: ``(B, ...)``.
        teacher: The same shape; detach it if it carries a graph.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> hint_loss(torch.zeros(2, 3), torch.full((2, 3), 2.0))
        tensor(4.)
    """
    return global_mean(
        (student - teacher).square().flatten(1).mean(dim=1), sync=sync
    )


@MODELS.register_module()
class FitNetLoss(FeatureLoss):
    """FitNet's hints, see :func:`hint_loss`; sums over features.

    `FitNets: Hints for Thin Deep Nets <https://arxiv.org/abs/1412.6550>`_,
    equation 3. The code in :attr:`card` trains the hint together with cross
    entropy, on the second stage of a CIFAR network, with weight 100.

    Args:
        connector: Maps the student's features to the teacher's shape, see
            :mod:`luminet_mm.connectors`. None compares the features directly,
            which requires equal shapes. The default ends in the paper's ReLU
            if the teacher's map has no negative values in the dry run;
            ``dict(type='regressor', last_relu=True)``, or False, forces it.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import FitNetLoss
        >>> student, teacher = torch.rand(2, 4, 8, 8), torch.randn(2, 6, 4, 4)
        >>> loss = FitNetLoss(loss_weight=100.0).build(student, teacher)
        >>> loss(student, teacher).backward()
        >>> loss.connectors[0][0]
        Conv2d(4, 6, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    """

    card = Card(
        title='FitNet',
        key='fitnet',
        paper=Paper(
            'FitNets: Hints for Thin Deep Nets',
            'Romero et al. 2015',
            'https://arxiv.org/abs/1412.6550',
        ),
        sources=(
            MDISTILLER.at(
                'mdistiller/distillers/FitNet.py',
                'mdistiller/distillers/_common.py',
            ),
        ),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(
                settings=dict(loss_weight=100.0),
                compared=Signals('middle map'),
            ),
            detector=Use(settings=dict(loss_weight=0.4), published=False),
        ),
    )

    def __init__(
        self, *, connector: str | dict | None = 'regressor', **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.connector = connector
        self.has_connectors = connector is not None
        self.same_width = self.same_size = connector is None

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        assert self.connector is not None
        self.connectors = nn.ModuleList(
            make_connector(self.connector, ours, theirs, after_relu=after)
            for ours, theirs, after in zip(
                student, teacher, self.after_relu['teacher'], strict=True
            )
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        if self.connector is not None:
            student = self.connect(self.connectors, student, teacher)
        return self.total(
            hint_loss(ours, theirs, sync=self.sync_stats)
            for ours, theirs in zip(student, teacher, strict=True)
        )
