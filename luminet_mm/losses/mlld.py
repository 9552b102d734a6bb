"""MLLD: probabilities aligned per row, batch and class (Jin et al.)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from luminet_mm.distributed import global_mean, global_rows
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.gram import column_gram_distance, row_gram_distance
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.base.tensors import lower_half
from luminet_mm.losses.kd import kl_rows
from luminet_mm.losses.logit_standardization import logit_standardization
from luminet_mm.registry import MODELS


def mlld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    taus: Sequence[float],
    instance_weight: float = 1.0,
    batch_weight: float = 1.0,
    class_weight: float = 1.0,
    mask_rows: bool = False,
    mask_classes: bool = False,
    standardize: bool = False,
    row_weights: Tensor | None = None,
    sync: bool = False,
) -> Tensor:
    r"""Three levels of two models' probabilities, for several temperatures.

    With :math:`P = \sigma(z/\tau)`, an ``(N, C)`` matrix:

    .. math::
        L_\tau &= \lambda_i\,\tau^2\, \frac1N \sum_i
                  \mathrm{KL}(P^t_{i:}\|P^s_{i:}) \\
               &+ \lambda_b\, \frac1N
                  \left|P^t P^{t\top} - P^s P^{s\top}\right|^2 \\
               &+ \lambda_c\, \frac1C
                  \left|P^{t\top} P^t - P^{s\top} P^s\right|^2

    summed over the temperatures, with the squared Frobenius norm. The second
    term compares similarities between rows, the third between classes; they
    grow as :math:`N` and :math:`N^2`.

    This is the loss for one view of the images; the losses of several views,
    such as a weak and a strong one, add up.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        taus: Temperatures.
        instance_weight: Weight of the first term.
        batch_weight: Weight of the second.
        class_weight: Weight of the third.
        mask_rows: Whether to compute the first two terms only on the rows
            where the teacher is least confident: those whose largest
            probability (at temperature 1) is not above the rows' median,
            weighted by ``row_weights``.
        mask_classes: Whether to compute the third term only on the least
            predicted classes: those whose summed teacher probability is not
            above the classes' median.
        standardize: Whether the first term compares logits standardised by
            :func:`~luminet_mm.losses.logit_standardization.logit_standardization`.
        row_weights: ``(N,)``, default equal. A row of weight 2 counts as two
            equal rows, in the medians too; one of weight 0 is left out.
        sync: Whether the loss is over the rows of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> student = torch.tensor([[0., 0.], [0., 0.]])
        >>> teacher = torch.tensor([[0., 99.], [99., 0.]])
        >>> mlld_loss(student, teacher, taus=[1.0])  # log(2) + 1/2 + 1/2
        tensor(1.6931)
    """
    if row_weights is None:
        row_weights = student_logits.new_ones(len(student_logits))
    columns = [student_logits, teacher_logits, row_weights[:, None]]
    rows = global_rows(torch.cat(columns, dim=1), sync)
    student, teacher, weights = rows.split([x.shape[1] for x in columns], 1)
    teacher, weights = teacher.detach(), weights.detach().squeeze(1)

    probs = teacher.softmax(dim=1)
    kept_rows = weights
    if mask_rows:
        kept_rows = weights * lower_half(probs.amax(dim=1), weights)
    kept_classes = probs.new_ones(probs.shape[1])
    if mask_classes:
        sums = (weights[:, None] * probs).sum(dim=0)
        kept_classes = lower_half(sums, torch.ones_like(sums)).to(probs)
    z_s, z_t = student, teacher
    if standardize:
        z_s, z_t = map(logit_standardization, (student, teacher))
    loss = student.new_zeros(())
    for tau in taus:
        p_s = (student / tau).softmax(dim=1)
        p_t = (teacher / tau).softmax(dim=1)
        instance = global_mean(kl_rows(z_s, z_t, tau), kept_rows, sync=False)
        loss = loss + (
            instance_weight * tau**2 * instance
            + batch_weight * row_gram_distance(p_s, p_t, kept_rows)
            + class_weight
            * column_gram_distance(p_s, p_t, weights, kept_classes)
        )
    return loss


@MODELS.register_module()
class MLLDLoss(LogitLoss):
    """Multi-level logit distillation, see :func:`mlld_loss`.

    `Multi-Level Logit Distillation
    <https://openaccess.thecvf.com/content/CVPR2023/html/Jin_Multi-Level_Logit_Distillation_CVPR_2023_paper.html>`_.
    The code in :attr:`card` trains with a weak and a strong view of each
    image: 0.1 of both views' cross entropies and 0.9 of the loss at
    temperatures 2 to 6 on CIFAR-100, 0.5 of each and temperature 1 instead of
    4 on ImageNet.

    ``views=2`` is for such a batch, all first views and then all second ones,
    as :class:`~luminet_mm.models.MultiViewClsDataPreprocessor` makes it: the
    views' losses add up, and rows of different views are not compared. For the
    strong view the release only adds the first term, at three of the five
    temperatures, and computes it at the two others on the weak view.

    The masks are the release's, with a bug fixed: there they multiply means,
    which only halves the terms; here they select rows and classes, in each
    view by the teacher's output for that view.

    The batch term grows as the number of rows (of all ranks, with
    ``sync_stats``) and the class term as its square. Lower their weights for
    RoIs or pixels: a step has many more of them than the 64 images for which
    the weights were chosen.

    Args:
        tau: Temperature, or several to sum over, > 0.
        instance_weight: Weight of the rows' divergence, >= 0.
        batch_weight: Weight of the rows' Gram matrix, >= 0.
        class_weight: Weight of the classes' Gram matrix, >= 0.
        mask_rows: Whether only rows where the teacher is unsure count.
        mask_classes: Whether only classes that it predicts least count.
        standardize: Whether the rows' divergence uses standardised logits, as
            `Logit Standardization <https://arxiv.org/abs/2403.01427>`_ adds it
            to this method (github.com/sunshangquan/logit-standardization-KD,
            ``distillers/MLKD.py``, at f6e5aa5).
        views: Number of views of each image in the batch.
        kwargs: Options of :class:`LogitLoss`.

    Raises:
        ValueError: An argument is out of its range; in training, the batch
            does not have that many views.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import MLLDLoss
        >>> teacher = torch.tensor([[1., 2., 4.], [3., 0., 1.]])
        >>> abs(MLLDLoss(tau=[2.0, 4.0])(teacher + 7, teacher)) < 1e-5
        tensor(True)
    """

    card = Card(
        title='MLLD',
        key='mlld',
        paper=Paper(
            'Multi-Level Logit Distillation',
            'Jin et al. 2023',
            ''
            'https://openaccess.thecvf.com/content/CVPR2023/html/'
            'Jin_Multi-Level_Logit_Distillation_CVPR_2023_paper.html',
        ),
        sources=(
            Source(
                'Jin-Ying/Multi-Level-Logit-Distillation',
                '5ee473f',
                'none',
                ('mdistiller/distillers/KD_ours.py',),
            ),
        ),
        signals=Signals('logits'),
        uses=dict(
            classifier=Use(
                settings=dict(tau=[2, 3, 4, 5, 6], loss_weight=0.9), ce=0.1
            ),
            detector=Use(
                settings=dict(tau=[2, 3, 4, 5, 6], loss_weight=0.005),
                published=False,
            ),
        ),
        needs=('optionally a weak and a strong view',),
        statistics='rows against rows, classes against classes',
        formula=(
            'per temperature KD, and the squared distance of `P Pᵀ` over '
            'rows and of `Pᵀ P` over classes; the '
            '[views](classifiers.md#several-views) of a batch add up'
        ),
    )

    def __init__(
        self,
        *,
        tau: float | Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
        instance_weight: float = 1.0,
        batch_weight: float = 1.0,
        class_weight: float = 1.0,
        mask_rows: bool = False,
        mask_classes: bool = False,
        standardize: bool = False,
        views: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        several = tau if isinstance(tau, Sequence) else [tau]
        if not several:
            raise ValueError(
                f'{self.name}: tau is {tau!r}; set a number, or a list of '
                'them.'
            )
        self.tau = tuple(
            self._number('tau', value, positive=True) for value in several
        )
        self.instance_weight = self._number('instance_weight', instance_weight)
        self.batch_weight = self._number('batch_weight', batch_weight)
        self.class_weight = self._number('class_weight', class_weight)
        self.mask_rows = mask_rows
        self.mask_classes = mask_classes
        self.standardize = standardize
        self.views = self._whole('views', views)

    def compute(
        self,
        student: Tensor,
        teacher: Tensor,
        row_weights: Tensor | None,
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`LogitLoss.compute`."""
        self._check_views(len(student), batch)
        if row_weights is None:
            row_weights = student.new_ones(len(student))
        shape = self.views, len(student) // self.views
        losses = [
            mlld_loss(
                *logits,
                taus=self.tau,
                instance_weight=self.instance_weight,
                batch_weight=self.batch_weight,
                class_weight=self.class_weight,
                mask_rows=self.mask_rows,
                mask_classes=self.mask_classes,
                standardize=self.standardize,
                row_weights=weights,
                sync=self.sync_stats,
            )
            for *logits, weights in zip(
                student.unflatten(0, shape),
                teacher.unflatten(0, shape),
                row_weights.unflatten(0, shape),
                strict=True,
            )
        ]
        return torch.stack(losses).sum()

    def _check_views(self, rows: int, batch: DistillBatch) -> None:
        different = rows % self.views > 0
        ids = batch.sample_ids
        # On CUDA reading them would stall the GPU; a distiller's are on CPU.
        if not different and ids is not None and ids.device.type == 'cpu':
            images = len(ids) // self.views
            different = not ids.equal(ids[:images].repeat(self.views))
        if different:
            raise ValueError(
                f'{self.name}: the {rows} rows are not {self.views} views of '
                'the same images. Give the transform MultiView '
                f'{self.views} views, with '
                "data_preprocessor=dict(type='luminet_mm."
                "MultiViewClsDataPreprocessor'), or set views=1."
            )
