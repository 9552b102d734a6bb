"""Hard-label distillation: the teacher's class as the label (Touvron)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.registry import MODELS


def hard_label_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""Cross entropy against the teacher's most likely class.

    .. math:: L = -\frac1N \sum_i \log \sigma(s_i)_{y_i}, \quad
              y_i = \arg\max_c t_{ic}

    Labels are not smoothed, and the teacher's confidence does not count. Among
    equal logits the first one wins.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``.
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0., 0.]])
        >>> teacher = torch.tensor([[0., 1.]])
        >>> hard_label_loss(student, teacher)  # log(2)
        tensor(0.6931)
    """
    values = F.cross_entropy(
        student_logits, teacher_logits.argmax(dim=1), reduction='none'
    )
    return global_mean(values, row_weights, sync)


@MODELS.register_module()
class HardLabelLoss(LogitLoss):
    """Hard-label distillation, see :func:`hard_label_loss`.

    `Training data-efficient image transformers & distillation through
    attention <https://arxiv.org/abs/2012.12877>`_. The code in :attr:`card`
    has ``0.5 CE + 0.5`` times this loss: CE, with smoothed labels, on the
    class token and this loss on the distillation token. Its temperature has no
    effect.

    Args:
        kwargs: Options of :class:`LogitLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import HardLabelLoss
        >>> student = torch.zeros(1, 2, requires_grad=True)
        >>> HardLabelLoss()(student, torch.tensor([[0., 1.]])).backward()
        >>> student.grad
        tensor([[ 0.5000, -0.5000]])
    """

    card = Card(
        title='Hard labels (DeiT)',
        key='hard',
        paper=Paper(
            'Training data-efficient image transformers & distillation '
            'through attention',
            'Touvron et al. 2021',
            'https://arxiv.org/abs/2012.12877',
        ),
        sources=(
            Source(
                'facebookresearch/deit',
                '7e160fe',
                'Apache-2.0',
                ('losses.py',),
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(settings=dict(loss_weight=0.5), ce=0.5),
            detector=Use(settings=dict(loss_weight=1.0), published=False),
        ),
        formula='`−log softmax(s)[argmax t]`, a cross entropy without '
        'smoothing',
        formula_alone=True,
    )

    def needs_every_class(self) -> str:
        """See :meth:`DistillLoss.needs_every_class`."""
        return ''

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        return hard_label_loss(
            student, teacher, row_weights=row_weights, sync=self.sync_stats
        )
