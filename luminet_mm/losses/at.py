"""AT: attention transfer, where both networks look (Zagoruyko)."""

from __future__ import annotations

from torch import Tensor

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MDISTILLER, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import FLAT, pool_to_smaller, unit
from luminet_mm.registry import MODELS


def attention_loss(
    student: Tensor, teacher: Tensor, *, p: float = 2.0, sync: bool = False
) -> Tensor:
    r"""Squared distance of two maps' attention.

    With the attention :math:`a(f) = v / |v|_2` of each image, where
    :math:`v = \mathrm{mean}_c |f_c|^p` has one entry per position:

    .. math:: L = \mathrm{mean}_{B, hw} (a(f_s) - a(f_t))^2

    The larger map is average-pooled to the smaller first.

    Args:
        student: ``(B, C_s, H, W)``.
        teacher: ``(B, C_t, H', W')``; detach it if it carries a graph.
        p: Power of the activations, at least 1.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> maps = torch.tensor([[3., 0.], [0., 1.]]).view(2, 1, 1, 1, 2)
        >>> left, right = maps  # where their only channel looks
        >>> attention_loss(left, right)  # (1² + 1²) / 2
        tensor(1.)
        >>> attention_loss(left, 2 * left)
        tensor(0.)
    """
    student, teacher = pool_to_smaller(student, teacher)
    ours, theirs = (
        unit(maps.abs().pow(p).mean(dim=1).flatten(1), eps=FLAT**p)
        for maps in (student, teacher)
    )
    return global_mean((ours - theirs).square().mean(dim=1), sync=sync)


@MODELS.register_module()
class ATLoss(FeatureLoss):
    """Attention transfer, see :func:`attention_loss`; sums over maps.

    `Paying More Attention to Attention <https://arxiv.org/abs/1612.03928>`_,
    equation 2. The code in :attr:`card` compares all stages of a network with
    weight 1000.

    Args:
        p: Power of the activations, at least 1. A smaller power has an
            unbounded gradient at 0, where a ReLU leaves most values.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import ATLoss
        >>> student = [torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)]
        >>> teacher = [torch.rand(2, 16, 8, 8), torch.rand(2, 32, 2, 2)]
        >>> both = ATLoss()(student, teacher)
        >>> each = [ATLoss(levels=[i])(student, teacher) for i in (0, 1)]
        >>> torch.allclose(both, sum(each))
        True
    """

    card = Card(
        title='AT',
        key='at',
        paper=Paper(
            'Paying More Attention to Attention: Improving the '
            'Performance of Convolutional Neural Networks via Attention '
            'Transfer',
            'Zagoruyko and Komodakis 2017',
            'https://arxiv.org/abs/1612.03928',
        ),
        sources=(MDISTILLER.at('mdistiller/distillers/AT.py'),),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(settings=dict(p=2, loss_weight=1000.0)),
            detector=Use(
                settings=dict(p=2, loss_weight=10.0), published=False
            ),
        ),
    )

    dims = (4,)

    def __init__(self, *, p: float = 2.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.p = self._number('p', p, positive=True)
        if self.p < 1:
            raise ValueError(
                f'{self.name}: p is {p!r}; set 1 or more. A smaller power '
                'has an unbounded gradient where an activation is 0.'
            )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return self.total(
            attention_loss(ours, theirs, p=self.p, sync=self.sync_stats)
            for ours, theirs in zip(student, teacher, strict=True)
        )
