"""Mask KD: soft binary cross entropy of masks, on each RoI's own class."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Use
from luminet_mm.losses.base.loss import DistillLoss
from luminet_mm.losses.base.tensors import of_class, working_dtype
from luminet_mm.losses.binary_kd import binary_kl
from luminet_mm.registry import MODELS


def mask_kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Distance of the masks that two models predict for the same RoIs.

    .. math:: L = \frac1P \sum_i \frac1{hw} \sum_p
              \mathrm{BCE}(S_{ip}, T_{ip}) - \mathrm{BCE}(T_{ip}, T_{ip})

    with the sigmoids :math:`S, T` of student and teacher at pixel p of RoI i.
    The second term, the teacher's entropy, has no gradient: it makes the loss
    0 where both agree.

    Args:
        student_logits: ``(P, h, w)``.
        teacher_logits: ``(P, h, w)``; detach it if it carries a graph.
        sync: Whether the mean is over the RoIs of all ranks.

    Returns:
        Scalar; 0, with a graph, where no rank has a RoI.

    Examples:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 2, 2), torch.full((1, 2, 2), 9.)
        >>> mask_kd_loss(student, teacher)  # nearly log(2)
        tensor(0.6919)
        >>> mask_kd_loss(teacher, teacher)
        tensor(0.)
    """
    terms = binary_kl(student_logits, teacher_logits)
    return global_mean(terms.mean(dim=(1, 2)), None, sync)


@MODELS.register_module()
class MaskKDLoss(DistillLoss):
    """Distillation of the masks of positive RoIs, see :func:`mask_kd_loss`.

    This form is this project's own; nothing is published on mask logits
    alone. It is Mask R-CNN's loss with the teacher's mask as the target: one
    sigmoid per pixel, on the channel of the ground-truth class (or the only
    one, of a class-agnostic head), with the mean over pixels and over the
    positive RoIs of all ranks. The signal is ``'roi.mask'``, or of a cascade
    ``'roi.0.mask'``, ...

    Args:
        kwargs: Options of :class:`~luminet_mm.losses.base.loss.DistillLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, MaskKDLoss
        >>> student = torch.zeros(1, 3, 2, 2, requires_grad=True)
        >>> teacher = torch.full((1, 3, 2, 2), 9.0)
        >>> batch = DistillBatch(labels=torch.tensor([1]))
        >>> MaskKDLoss()(student, teacher, batch).backward()
        >>> student.grad.sum(dim=(0, 2, 3)).round(decimals=2)
        tensor([ 0.0000, -0.5000,  0.0000])
    """

    card = Card(
        title='Mask KD, on mask logits',
        key='mask_kd',
        paper=Paper(
            'Distilling the Knowledge in a Neural Network',
            'Hinton et al. 2015',
            'https://arxiv.org/abs/1503.02531',
        ),
        signals=Signals('masks'),
        uses=dict(detector=Use(only=('Mask R-CNN',))),
        needs=('masks of objects',),
        formula="`BCE(S, T) − H(T)` of each pixel, on a RoI's own class; "
        "this project's form",
    )
    activations = ('sigmoid',)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """Compute the weighted loss.

        Args:
            student: ``(P, C, h, w)`` mask logits; C is 1 if the head is
                class-agnostic.
            teacher: The same.
            batch: With ``labels``, the class of each RoI.

        Returns:
            Scalar.

        Raises:
            ValueError: A side is not masks, or their RoIs or sizes differ.
            FloatingPointError: A side holds NaN or inf.
        """
        for side, masks in (('student', student), ('teacher', teacher)):
            if not isinstance(masks, Tensor) or masks.dim() != 4:
                raise ValueError(
                    f"{self.name}: the {side}'s signal is not the masks (P, "
                    "C, h, w) of RoIs. Name 'roi.mask', or of a cascade "
                    "'roi.0.mask'."
                )
        shapes = [(len(x), *x.shape[2:]) for x in (student, teacher)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f'{self.name}: the student has masks of shape '
                f'{tuple(student.shape)} and the teacher of '
                f'{tuple(teacher.shape)}; both need equal RoIs, heights and '
                'widths. Take a mask head whose masks have the same size.'
            )
        labels = self.need(
            batch or DistillBatch(),
            'labels',
            instead='compare masks of positive RoIs',
        )
        self._check_finite(self.name, [student], [teacher])
        dtype = working_dtype(student)
        with torch.autocast(student.device.type, enabled=False):
            loss = mask_kd_loss(
                of_class(student, labels).to(dtype),
                of_class(teacher.detach(), labels).to(dtype),
                sync=self.sync_stats,
            )
        return loss * (self.loss_weight * self.schedule_factor)
