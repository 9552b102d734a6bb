"""TTM and WTTM: only the teacher's probabilities are softened (Zheng)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.kd import unscaled_kl_rows
from luminet_mm.registry import MODELS

PAPER = Paper(
    'Knowledge Distillation Based on Transformed Teacher Matching',
    'Zheng and Yang 2024',
    'https://arxiv.org/abs/2402.11148',
)
TTM = Source('zkxufo/TTM', 'fe457b3', 'MIT')


def ttm_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    exponent: float,
    weighted: bool = False,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""KL from the teacher's probabilities to a power, renormalised.

    With :math:`q_i = \sigma(\gamma\,t_i)`, which is
    :math:`\sigma(t_i)^\gamma` renormalised:

    .. math:: L = \frac1N \sum_i U_i\,\mathrm{KL}(q_i\,\|\,\sigma(s_i))

    where :math:`U_i = 1`, or :math:`\sum_c \sigma(t_i)_c^\gamma` if
    ``weighted``: large where the teacher is unsure. A power of 1 over a
    temperature softens the teacher as KD does. The student is not softened,
    and there is no square of a temperature.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        exponent: The power :math:`\gamma`.
        weighted: Whether rows have the weights :math:`U_i` (WTTM).
        row_weights: ``(N,)`` weights of the mean, default equal.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar.

    Examples:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[0., 1000.]])
        >>> ttm_loss(student, teacher, exponent=0.1)  # log(2)
        tensor(0.6931)
        >>> teacher = torch.tensor([[0., 0.]])
        >>> ttm_loss(student, teacher, exponent=0.1)
        tensor(0.)
    """
    values = unscaled_kl_rows(student_logits, exponent * teacher_logits)
    if weighted:
        values = values * power_sums(teacher_logits, exponent)
    return global_mean(values, row_weights, sync)


def power_sums(logits: Tensor, exponent: float) -> Tensor:
    """Sum over classes of the probabilities to a power, ``(N,)``.

    In log space: a probability that underflows would lose its class.

    Examples:
        >>> import torch
        >>> power_sums(torch.zeros(1, 4), 0.5)  # 4 times the root of 1 / 4
        tensor([2.])
    """
    powers = exponent * F.log_softmax(logits, dim=1)
    return powers.logsumexp(dim=1).exp()


class _TransformedTeacher(LogitLoss):
    weighted = False

    def __init__(self, *, exponent: float = 0.1, **kwargs) -> None:
        super().__init__(**kwargs)
        self.exponent = self._number('exponent', exponent, positive=True)

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        return ttm_loss(
            student,
            teacher,
            exponent=self.exponent,
            weighted=self.weighted,
            row_weights=row_weights,
            sync=self.sync_stats,
        )


@MODELS.register_module()
class TTMLoss(_TransformedTeacher):
    """Transformed teacher matching on logits, see :func:`ttm_loss`.

    `Knowledge Distillation Based on Transformed Teacher Matching
    <https://arxiv.org/abs/2402.11148>`_. The code in :attr:`card` adds it to
    cross entropy: exponent 0.1 with weight 45 for VGG-13 and VGG-8 on
    CIFAR-100, the only pair with settings there. It takes the power of
    probabilities, where those that underflow lose their class; here the logits
    are multiplied.

    Args:
        exponent: Power of the teacher's probabilities, > 0; 1 over a
            temperature.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import TTMLoss
        >>> student = torch.zeros(1, 2, requires_grad=True)
        >>> teacher = torch.tensor([[0., 1000.]])
        >>> TTMLoss(exponent=0.1, loss_weight=2.0)(student, teacher).backward()
        >>> student.grad
        tensor([[ 1., -1.]])
    """

    card = Card(
        title='TTM',
        key='ttm',
        paper=PAPER,
        sources=(TTM.at('distiller_zoo/ttm.py'),),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(settings=dict(exponent=0.1, loss_weight=45.0)),
            detector=Use(
                settings=dict(exponent=0.1, loss_weight=5.0), published=False
            ),
        ),
        formula=(
            '`KL(softmax(exponent · t) ‖ softmax(s))`: the student is not '
            'softened, and there is no `tau²`'
        ),
    )


@MODELS.register_module()
class WTTMLoss(_TransformedTeacher):
    """Weighted transformed teacher matching, see :func:`ttm_loss`.

    `Knowledge Distillation Based on Transformed Teacher Matching
    <https://arxiv.org/abs/2402.11148>`_. :class:`TTMLoss` with a weight for
    each row, large where the teacher is unsure: from 1 up to the number of
    classes to the power ``1 - exponent``. The code in :attr:`card` has
    settings only for VGG-13 and VGG-8 together with CRD: exponent 0.2 with
    weight 4.

    Args:
        exponent: Power of the teacher's probabilities, > 0; 1 over a
            temperature.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import TTMLoss, WTTMLoss
        >>> student, teacher = torch.tensor([[[0., 9.]], [[1., 1.]]])
        >>> ratio = WTTMLoss(exponent=0.5)(student, teacher) / TTMLoss(
        ...     exponent=0.5)(student, teacher)
        >>> ratio.round(decimals=3)  # the teacher is unsure: root of 2
        tensor(1.4140)
    """

    weighted = True
    card = Card(
        title='WTTM',
        key='wttm',
        paper=PAPER,
        sources=(TTM.at('distiller_zoo/wttm.py'),),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(settings=dict(exponent=0.2, loss_weight=4.0)),
            detector=Use(
                settings=dict(exponent=0.2, loss_weight=1.0), published=False
            ),
        ),
        formula=(
            '`U KL(softmax(exponent · t) ‖ softmax(s))`, '
            '`U = Σ_c softmax(t)_c^exponent`'
        ),
    )

    def __init__(self, *, exponent: float = 0.2, **kwargs) -> None:
        super().__init__(exponent=exponent, **kwargs)
