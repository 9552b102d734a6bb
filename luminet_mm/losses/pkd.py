"""PKD: Pearson correlation of a detector's maps (Cao et al.)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import MMRAZOR, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import standard_channels
from luminet_mm.registry import MODELS


def pkd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    resize_student: bool = True,
    eps: float = 1e-6,
    sync: bool = False,
) -> Tensor:
    r"""Squared distance of two maps whose channels are standardised.

    With the mean :math:`\mu_c` and the unbiased standard deviation
    :math:`\sigma_c` of each channel over images and positions, for each side:

    .. math:: L = \tfrac12\, \mathrm{mean}_{B, C, hw} (\tilde s - \tilde t)^2,
              \qquad \tilde f_c = \frac{f_c - \mu_c}{\sigma_c + \epsilon}

    where a deviation below :data:`~luminet_mm.losses.base.tensors.FLAT` is
    replaced with it. Up to :math:`\epsilon` and the unbiased :math:`\sigma`
    this is one minus the Pearson correlation, averaged over channels.

    Args:
        student: ``(B, C, H, W)``.
        teacher: ``(B, C, H', W')``; detach it if it carries a graph.
        resize_student: If sizes differ, whether to resize (bilinearly) the
            student's map or the teacher's.
        eps: Added to the standard deviations.
        sync: Whether means and deviations are over the positions of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([1., 2., 3., 6.]).view(1, 1, 2, 2)
        >>> abs(pkd_loss(5 * teacher + 7, teacher)) < 1e-5
        tensor(True)
        >>> round(pkd_loss(-teacher, teacher).item(), 3)  # 2 * 3 / 4 positions
        1.5
    """
    if student.shape[2:] != teacher.shape[2:]:
        if resize_student:
            student = _resize(student, teacher)
        else:
            teacher = _resize(teacher, student)
    ours, count = standard_channels(student, eps, sync)
    theirs, _ = standard_channels(teacher, eps, sync)
    distance = (ours - theirs).square().mean(dim=1)
    return global_mean(distance, sync=sync, total=count) / 2


def _resize(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, like.shape[2:], mode='bilinear')


@MODELS.register_module()
class PKDLoss(FeatureLoss):
    """PKD, see :func:`pkd_loss`; sums over maps.

    `PKD: General Distillation Framework for Object Detectors via Pearson
    Correlation Coefficient <https://arxiv.org/abs/2207.02039>`_. The code in
    :attr:`card` compares the neck (``levels=[0, 1, 2, 3]``, P2 to P5) with
    weight 6 for two-stage detectors and 10 for RetinaNet, with separate
    statistics on each GPU (``sync_stats=False``). Both sides need equal
    channels.

    Args:
        resize_student: If heights or widths differ, whether to resize the
            student's maps or the teacher's.
        eps: Added to the standard deviations, > 0.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import PKDLoss
        >>> teacher = [torch.rand(2, 8, 16, 16), torch.rand(2, 8, 8, 8)]
        >>> student = [3 * maps - 5 for maps in teacher]
        >>> abs(PKDLoss(loss_weight=6.0)(student, teacher)) < 1e-4
        tensor(True)
    """

    card = Card(
        title='PKD',
        key='pkd',
        paper=Paper(
            'PKD: General Distillation Framework for Object Detectors '
            'via Pearson Correlation Coefficient',
            'Cao et al. 2022',
            'https://arxiv.org/abs/2207.02039',
        ),
        sources=(MMRAZOR.at('mmrazor/models/losses/pkd_loss.py'),),
        signals=Signals('maps'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=6.0)),
            detector=Use(),
        ),
        needs=('equal channels',),
    )

    dims = (4,)
    same_width = True

    def __init__(
        self, *, resize_student: bool = True, eps: float = 1e-6, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.resize_student = resize_student
        self.eps = self._number('eps', eps, positive=True)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return self.total(
            pkd_loss(
                ours,
                theirs,
                resize_student=self.resize_student,
                eps=self.eps,
                sync=self.sync_stats,
            )
            for ours, theirs in zip(student, teacher, strict=True)
        )
