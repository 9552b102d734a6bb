"""USKD: a student that softens its own labels (Yang et al.)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.distributed import global_mean, global_sum
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import CLS_KD, Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import pooled
from luminet_mm.registry import MODELS


def uskd_loss(
    logits: Tensor,
    weak_logits: Tensor,
    targets: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 0.1,
    mu: float = 0.005,
    smoothing: float = 0.1,
    eps: float = 1e-6,
    sync: bool = False,
) -> Tensor:
    r"""Customised soft labels from a student's own two sets of logits.

    With :math:`s = \sigma(z)` and :math:`w = \sigma(z^{weak})`, target classes
    :math:`Y` (the one or two largest values :math:`v_y > 0` of a row's
    targets) and :math:`\hat s = \sigma(z_{k \notin Y})`:

    .. math::
        L &= \alpha L_t + \beta L_n + \mu\,\mathrm{CE}(w, \tilde v) \\
        L_t &= -\frac1N \sum_i \sum_{y \in Y}
               \left(v_y + s_y^2 - \overline{s_y^2}\right) \log s_y \\
        L_n &= -\frac1N \sum_i \sum_{k \notin Y} n_k \log \hat s_k,\qquad
        n_k \propto \frac{1}{\mathrm{rank}_k}

    The mean :math:`\overline{s_y^2}` is over the batch, :math:`\tilde v` are
    smoothed targets, and classes are ranked, the largest first, by
    :math:`w_k / (1 - w_Y) + s_k / (1 - s_Y)`. Only the logarithms and the
    cross entropy have a gradient.

    Args:
        logits: ``(N, C)``, from the student's head.
        weak_logits: ``(N, C)``, from a classifier on an early feature.
        targets: ``(N, C)`` probabilities: one-hot, or of two mixed images.
        alpha: Weight of the target classes.
        beta: Weight of the other classes.
        mu: Weight of the weak classifier's cross entropy.
        smoothing: Label smoothing of that cross entropy.
        eps: Added to ``1 - w_Y`` and ``1 - s_Y``.
        sync: Whether means are over the rows of all ranks.

    Returns:
        Scalar; 0, with a graph, without rows.

    Examples:
        >>> even = torch.zeros(1, 2)
        >>> label = torch.tensor([[1., 0.]])
        >>> uskd_loss(even, even, label, mu=1.0)  # log(2), twice
        tensor(1.3863)
    """
    classes = logits.shape[1]
    values, labels = targets.topk(min(2, classes), dim=1)
    real = values > 0
    target = torch.zeros_like(logits, dtype=torch.bool)
    target.scatter_(1, labels, real)

    log_s = logits.log_softmax(dim=1)
    log_s_y = log_s.gather(1, labels)
    squares = log_s_y.detach().exp().square()
    count = global_sum(real.sum(dim=0), sync).clamp(min=1)
    mean = global_sum((squares * real).sum(dim=0), sync) / count
    soft = (values + squares - mean) * real
    rows = alpha * -(soft * log_s_y).sum(dim=1)

    log_w = weak_logits.log_softmax(dim=1)
    smooth = (1 - smoothing) * targets + smoothing / classes
    rows = rows + mu * -(smooth * log_w).sum(dim=1)

    with torch.no_grad():
        scores = torch.zeros_like(logits)
        for probs in (log_w.exp(), log_s.exp()):
            rest = 1 - (probs * target).sum(dim=1, keepdim=True)
            scores += probs / (rest + eps)
        ranks = scores.argsort(dim=1, descending=True).argsort(dim=1)
        zipf = (~target) / (ranks + 1).to(logits)
        zipf = zipf / zipf.sum(dim=1, keepdim=True).clamp(min=eps)
    # without the targets; the lowest finite number, as 0 * -inf is NaN
    others = logits.masked_fill(target, torch.finfo(logits.dtype).min)
    rows = rows + beta * -(zipf * others.log_softmax(dim=1)).masked_fill(
        target, 0
    ).sum(dim=1)
    return global_mean(rows, sync=sync)


@MODELS.register_module()
class USKDLoss(FeatureLoss):
    """Universal self-knowledge distillation, see :func:`uskd_loss`.

    `From Knowledge Distillation to Self-Knowledge Distillation
    <https://arxiv.org/abs/2303.13005>`_. It has no teacher: a config needs no
    ``teacher`` block for it. ``student`` lists two signals, the logits and an
    early feature: the third of four stages of a ResNet (``'backbone.layer3'``,
    pooled here), or the middle block of a ViT (``'backbone.layers.5'``, of
    which the class token is used). A linear layer, trained with the student,
    classifies that feature.

    The code in :attr:`card` adds it to the head's own cross entropy. There are
    two differences. There the ranking adds the *logarithm* of the student's
    probabilities; the paper and this class add probabilities. There a row of
    soft targets always loses two classes, even if it has one label, and the
    square of whichever class comes second enters the batch's mean. Here the
    mean is over the rows that have a second label.

    Args:
        alpha: Weight of the target classes, >= 0.
        beta: Weight of the other classes, >= 0.
        mu: Weight of the weak classifier, >= 0.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, USKDLoss
        >>> logits, maps = torch.randn(2, 10), torch.rand(2, 64, 4, 4)
        >>> loss = USKDLoss().build([logits, maps])
        >>> batch = DistillBatch(labels=torch.tensor([3, 7]))
        >>> loss([logits, maps], None, batch).backward()  # no teacher
        >>> [tuple(weight.shape) for weight in loss.parameters()]
        [(10, 64), (10,)]
    """

    card = Card(
        title='USKD, self-distillation',
        key='uskd',
        paper=Paper(
            'From Knowledge Distillation to Self-Knowledge Distillation: '
            'A Unified Approach with Normalized Loss and Customized Soft '
            'Labels',
            'Yang et al. 2023',
            'https://arxiv.org/abs/2303.13005',
        ),
        sources=(CLS_KD.at('mmcls/models/dis_losses/uskd.py'),),
        signals=Signals(('logits', 'middle map')),
        uses=dict(
            classifier=Use(
                settings=dict(alpha=1.0, beta=0.1, mu=0.005, loss_weight=1.0)
            ),
        ),
        needs=(
            'labels',
            'no teacher',
        ),
        statistics='rows, of the mean of squares',
        formula=(
            '`−alpha Σ_y p_y log s_y − beta Σ_{k∉Y} n_k log q_k + mu '
            'CE(weak)`, `p_y = v_y + s_y² − mean s_y²`, `n ∝ 1 / rank`'
        ),
        formula_alone=True,
    )

    activations: tuple[str, ...] = ('softmax',)
    dims = (2, 3, 4)
    has_connectors = True
    uses_teacher = False

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 0.1,
        mu: float = 0.005,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha = self._number('alpha', alpha)
        self.beta = self._number('beta', beta)
        self.mu = self._number('mu', mu)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        if len(student) != 2 or len(student[0]) != 2:
            raise ValueError(
                f'student has features of shape {[tuple(s) for s in student]}'
                '; name two signals in student, the logits and an early '
                'feature, in this order.'
            )
        (_, classes), feature = student
        width = feature[2] if len(feature) == 3 else feature[1]
        self.connectors = nn.ModuleList([nn.Linear(width, classes)])

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        logits, feature = student
        if feature.dim() == 3:
            feature = feature[:, 0]
        (weak,) = self.connect(self.connectors, [pooled(feature)])
        return uskd_loss(
            logits,
            weak,
            self._targets(logits, batch),
            alpha=self.alpha,
            beta=self.beta,
            mu=self.mu,
            sync=self.sync_stats,
        )

    def _targets(self, logits: Tensor, batch: DistillBatch) -> Tensor:
        if batch.soft_labels is not None:
            return batch.soft_labels.to(logits)
        labels = self.need(
            batch, 'labels', instead='name the logits first in student'
        )
        hot = F.one_hot(labels.to(logits.device), logits.shape[1])
        return hot.to(logits)
