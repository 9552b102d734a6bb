"""Binary KD: Hinton's distillation for heads with a sigmoid per class."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from luminet_mm.losses.base.batch import Points
from luminet_mm.losses.base.card import Card, Paper, Signals, Use
from luminet_mm.losses.base.dense import LevelLoss
from luminet_mm.registry import MODELS


def binary_kl(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    r"""Divergence of the sigmoids of every class.

    .. math:: \mathrm{KL}(P\,\|\,S) = P \log\frac{P}{S}
              + (1 - P) \log\frac{1 - P}{1 - S}

    with :math:`P` the teacher's and :math:`S` the student's sigmoid: the
    cross entropy without the teacher's entropy, so 0 where both agree.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.

    Returns:
        ``(N, C)``.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import binary_kl
        >>> binary_kl(torch.tensor([[0., 2.]]), torch.tensor([[9., 2.]]))
        tensor([[0.6919, 0.0000]])
    """
    target = teacher_logits.sigmoid()
    cross, own = (
        F.binary_cross_entropy_with_logits(logits, target, reduction='none')
        for logits in (student_logits, teacher_logits)
    )
    return cross - own


@MODELS.register_module()
class BinaryKDLoss(LevelLoss):
    r"""Knowledge distillation of every class as a decision of its own.

    `Distilling the Knowledge in a Neural Network
    <https://arxiv.org/abs/1503.02531>`_, with the two probabilities of a
    sigmoid where that paper has a softmax: each logit :math:`z` is the pair
    :math:`(z, 0)`. With the number of positives :math:`N` and label weights
    :math:`l_a` of the points:

    .. math:: L = \frac{\tau^2}{N} \sum_{a,c} l_a \,
              \mathrm{KL}(\sigma(t_{ac}/\tau)\,\|\,\sigma(s_{ac}/\tau))

    over all points. It is the plain baseline of dense heads; no paper has a
    weight for it.

    Args:
        tau: Temperature, > 0.
        kwargs: Options of :class:`LevelLoss`.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import BinaryKDLoss, DistillBatch, Points
        >>> points = Points(
        ...     labels=[torch.tensor([0, 2])], weights=[torch.ones(2)],
        ...     num_pos=torch.tensor(1.0), decode=lambda level, rows: rows)
        >>> student = [torch.zeros(2, 2, requires_grad=True)]
        >>> teacher = [torch.tensor([[9.0, -9.0], [-9.0, 0.0]])]
        >>> batch = DistillBatch(points=points)
        >>> BinaryKDLoss()(student, teacher, batch).backward()
        >>> student[0].grad
        tensor([[-0.4999,  0.4999],
                [ 0.4999,  0.0000]])
    """

    card = Card(
        title='Binary KD',
        key='binary_kd',
        paper=Paper(
            'Distilling the Knowledge in a Neural Network',
            'Hinton et al. 2015',
            'https://arxiv.org/abs/1503.02531',
        ),
        signals=Signals('logits'),
        uses=dict(
            dense=Use(
                settings=dict(tau=1.0, loss_weight=1.0), published=False
            ),
            detector=Use(signals=Signals('objectness')),
        ),
        formula='`tau² KL(sigmoid(t / tau) ‖ sigmoid(s / tau))` of every '
        'class of every point',
    )

    def __init__(self, *, tau: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)

    def compute(
        self,
        level: int,
        student: list[Tensor],
        teacher: list[Tensor],
        points: Points,
    ) -> Tensor:
        """See :meth:`LevelLoss.compute`."""
        terms = binary_kl(student[0] / self.tau, teacher[0] / self.tau)
        weights = points.weights[level].to(terms)
        loss = (terms * weights[:, None]).sum()
        return self.tau**2 * loss / points.num_pos.to(loss)
