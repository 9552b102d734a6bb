"""CWD: softmax of each channel over the positions (Shu et al.)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.connectors import make_connector
from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.avatar import make_avatar, normalized
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import (
    MMRAZOR,
    Card,
    Paper,
    Signals,
    Source,
    Use,
)
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import standard_channels
from luminet_mm.registry import MODELS


def cwd_loss(
    student: Tensor, teacher: Tensor, *, tau: float = 1.0, sync: bool = False
) -> Tensor:
    r"""KL divergence of two maps' channels, as distributions over positions.

    .. math:: L = \frac{\tau^2}{B C} \sum_{i, c} \mathrm{KL}\!\left(
              \sigma(t_{ic}/\tau)\,\|\,\sigma(s_{ic}/\tau)\right)

    with the softmax :math:`\sigma` over the positions of a channel; the
    divergence is summed over positions.

    Args:
        student: ``(B, C, H, W)``.
        teacher: The same shape; detach it if it carries a graph.
        tau: Temperature.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> student = torch.zeros(1, 3, 1, 2)
        >>> teacher = torch.tensor([0., 100.]).expand_as(student)
        >>> cwd_loss(student, teacher)  # log(2)
        tensor(0.6931)
    """
    log_s, log_t = (
        F.log_softmax(maps.flatten(2) / tau, dim=2)
        for maps in (student, teacher)
    )
    values = (log_t.exp() * (log_t - log_s)).sum(dim=2).mean(dim=1)
    return tau**2 * global_mean(values, sync=sync)


@MODELS.register_module()
class CWDLoss(FeatureLoss):
    """Channel-wise distillation, see :func:`cwd_loss`; sums over maps.

    `Channel-wise Knowledge Distillation for Dense Prediction
    <https://arxiv.org/abs/2011.13256>`_. The code in :attr:`card` compares the
    neck of detectors (five levels) with tau 1 and weight 10, and the logits of
    segmenters with tau 1 and weight 5.

    Args:
        tau: Temperature, > 0.
        standardize: Whether each channel of both sides is first standardised
            over images and positions, as PKD does, with the statistics of the
            batch. MMYOLO's recipe for RTMDet (tau 1, weight 1) has a batch
            norm without affine parameters there.
        avatar: `AvatarKD <https://arxiv.org/abs/2305.02722>`_: the share of
            the teacher's values that dropout hides, anew in each step, so
            that the student learns from many variants of it. Published: 0.1.
            The student's maps are normalised, and the teacher's are not; see
            :mod:`luminet_mm.losses.base.avatar`. None leaves it out.
        connector: Maps the student's maps to the teacher's channels, see
            :mod:`luminet_mm.connectors` (``'linear'`` is a 1x1 convolution).
            None compares the maps directly, which requires equal channels.
            Heights and widths must always be equal.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import CWDLoss
        >>> student, teacher = torch.rand(2, 4, 8, 8), torch.rand(2, 6, 8, 8)
        >>> loss = CWDLoss(loss_weight=10.0, connector='linear')
        >>> loss.build(student, teacher)(student, teacher).backward()
        >>> [tuple(weight.shape) for weight in loss.parameters()]
        [(6, 4, 1, 1), (6,)]
    """

    card = Card(
        title='CWD',
        key='cwd',
        paper=Paper(
            'Channel-wise Knowledge Distillation for Dense Prediction',
            'Shu et al. 2021',
            'https://arxiv.org/abs/2011.13256',
        ),
        sources=(
            MMRAZOR.at('mmrazor/models/losses/cwd.py'),
            Source(
                'open-mmlab/mmyolo',
                '8c4d9dc',
                'GPL-3.0',
                ('kd_s_rtmdet_m_neck_300e_coco.py',),
            ),
        ),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(settings=dict(tau=1.0, loss_weight=10.0)),
            detector=Use(
                settings=dict(tau=1.0, connector='linear', loss_weight=10.0)
            ),
        ),
        needs=('equal sizes, and equal channels or a connector',),
        optimizer='AdamW',
    )

    dims = (4,)
    same_size = True

    def __init__(
        self,
        *,
        tau: float = 1.0,
        standardize: bool = False,
        avatar: float | None = None,
        connector: str | dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.standardize = standardize
        self.avatar = self._avatar(avatar)
        if standardize and avatar is not None:
            raise ValueError(
                f'{self.name}: standardize=True and avatar={avatar!r}; with '
                "an avatar only the student's maps are standardised. Leave "
                'one of them out.'
            )
        self.connector = connector
        self.has_connectors = connector is not None
        self.same_width = connector is None

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
            student = self.connect(self.connectors, student)
        if self.avatar is not None:
            rate = self.avatar
            student = [normalized(each, self.sync_stats) for each in student]
            teacher = [make_avatar(each, rate) for each in teacher]
        if self.standardize:
            student, teacher = [
                [self._standardized(maps) for maps in side]
                for side in (student, teacher)
            ]
        return self.total(
            cwd_loss(ours, theirs, tau=self.tau, sync=self.sync_stats)
            for ours, theirs in zip(student, teacher, strict=True)
        )

    def _standardized(self, maps: Tensor) -> Tensor:
        rows, _ = standard_channels(maps, sync=self.sync_stats)
        size = (len(maps), *maps.shape[2:])
        return rows.unflatten(0, size).permute(0, 3, 1, 2)
