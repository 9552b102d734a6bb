"""CRD: contrast with memory banks of all training images (Tian et al.)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.distributed import (
    global_mean,
    global_rows,
)
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import (
    MDISTILLER,
    REPDISTILLER,
    Card,
    Paper,
    Signals,
    Use,
)
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.memory_bank import (
    bank_products,
    check_ids,
    check_labels,
    draw_contrast,
    log_mean_exp,
    update_bank,
)
from luminet_mm.losses.base.tensors import pooled, unit
from luminet_mm.registry import MODELS

OTHERS = "negatives='other_classes'"  # for errors
NEGATIVES = ('all', 'other_classes')


def crd_loss(
    student: Tensor,
    teacher: Tensor,
    student_bank: Tensor,
    teacher_bank: Tensor,
    contrast: Tensor,
    log_z: Tensor,
    *,
    tau: float = 0.07,
    eps: float = 1e-7,
    sync: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Tell each image's pair from pairs with :math:`K` other images.

    With embeddings :math:`u_i, v_i` of student and teacher, the teacher's
    bank :math:`M` of :math:`N` images and the drawn images
    :math:`j_0 = i, j_1, ..., j_K`:

    .. math:: P_k = e^{\langle u_i, M_{j_k} \rangle / \tau} / Z, \qquad
              c = K / N

    .. math:: L = -\tfrac{1}{B} \sum_i \Bigl[
              \log \frac{P_0}{P_0 + c + \epsilon}
              + \sum_{k=1}^{K} \log \frac{c}{P_k + c + \epsilon} \Bigr]

    plus the same for :math:`v_i` with the student's bank and its own
    :math:`Z`. :math:`Z` is :math:`N` times the mean of
    :math:`e^{\langle u_i, M_{j_k} \rangle / \tau}` over the first batch, and
    constant from then on. It is stored as a logarithm, and all arithmetic is
    in log space.

    The banks may be changed in place after the call, even before backward.

    Args:
        student: ``(B, D)`` embeddings of length 1.
        teacher: ``(B, D)``, likewise.
        student_bank: ``(N, D)`` embeddings of all training images.
        teacher_bank: ``(N, D)``.
        contrast: ``(B, K + 1)`` int64 rows of the banks; the first column is
            the image itself.
        log_z: ``(2,)`` logarithms of :math:`Z`, for the student's and the
            teacher's embeddings; NaN for the first batch.
        tau: Temperature.
        eps: Added to the denominators.
        sync: Whether the means are over the images of all ranks.

    Returns:
        Scalar, 0 without rows; and ``(2,)``, the ``log_z`` for the next call.

    Examples:
        >>> bank, own = torch.eye(2), torch.tensor([[0, 1], [1, 0]])
        >>> crd_loss(bank, bank, bank, bank, own, bank[0] * torch.nan)[0]
        tensor(0.8109)
    """
    scores = torch.stack(
        [
            bank_products(student, teacher_bank, contrast),
            bank_products(teacher, student_bank, contrast),
        ]
    ).div(tau)
    images, negatives = len(student_bank), contrast.shape[1] - 1
    first = log_mean_exp(scores.detach(), sync) + math.log(images)
    log_z = torch.where(log_z.isnan(), first, log_z.to(first.dtype))

    noise = negatives / images
    # the logarithm of P / (c + eps): both terms are sigmoids of it
    odds = scores - log_z[:, None, None] - math.log(noise + eps)
    found = F.logsigmoid(odds[:, :, 0])
    refused = F.logsigmoid(-odds[:, :, 1:]).sum(dim=2)
    of_eps = negatives * math.log1p(eps / noise)
    rows = (of_eps - found - refused).sum(dim=0)
    return global_mean(rows, sync=sync), log_z


@MODELS.register_module()
class CRDLoss(FeatureLoss):
    r"""Contrastive representation distillation, see :func:`crd_loss`.

    `Contrastive Representation Distillation
    <https://arxiv.org/abs/1910.10699>`_. Linear layers embed both sides, and
    both are trained. Two memory banks hold the last embeddings of every
    training image. They are read first; then this batch's rows become
    :math:`M_i \leftarrow \mathrm{unit}(m M_i + (1 - m) u_i)`. The code in
    :attr:`card` uses weight 0.8 on the pooled vectors with these defaults, on
    CIFAR-100 and on ImageNet.

    It compares one feature; maps are pooled. It needs ``batch.sample_ids``,
    each image's index in the training set: MMPretrain's ``sample_idx``. Data
    sets joined by a ``ConcatDataset`` do not work, because each numbers its
    images from 0. More on draws and banks is in ``docs/losses.md``.

    Args:
        num_samples: Number of images of the training set.
        embed_dim: Width of the embeddings.
        num_negatives: Number of negatives for each image.
        negatives: Which images are negatives. ``'other_classes'``: images of
            other classes, which needs hard labels; ``'all'``: any others.
        tau: Temperature, > 0.
        momentum: Share of the old row of a bank, below 1.
        eps: Added to the denominators, >= 0.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> from luminet_mm.losses import CRDLoss, DistillBatch
        >>> student, teacher = torch.randn(2, 4), torch.randn(2, 8)
        >>> loss = CRDLoss(num_samples=50).build(student, teacher)
        >>> ids, labels = torch.tensor([[7, 31], [0, 1]])
        >>> batch = DistillBatch(sample_ids=ids, labels=labels)
        >>> loss(student, teacher, batch).backward()
        >>> loss.log_z.isfinite().all()
        tensor(True)
    """

    card = Card(
        title='CRD',
        key='crd',
        paper=Paper(
            'Contrastive Representation Distillation',
            'Tian et al. 2020',
            'https://arxiv.org/abs/1910.10699',
        ),
        sources=(
            MDISTILLER.at('mdistiller/distillers/CRD.py'),
            REPDISTILLER.at('crd/memory.py', 'crd/criterion.py'),
        ),
        signals=Signals('vectors'),
        uses=dict(
            classifier=Use(
                options=dict(num_samples=50000),
                # the same ratio as 16384 to 50000
                settings=dict(
                    num_samples=5000, num_negatives=1638, loss_weight=0.8
                ),
            ),
        ),
        needs=(
            'labels',
            'the index of each image',
            'memory banks',
        ),
    )

    has_connectors = True
    student_bank: Tensor  # (num_samples, embed_dim)
    teacher_bank: Tensor
    log_z: Tensor
    """``(2,)``; NaN before the first step."""
    labels: Tensor
    """``(num_samples,)`` int64, -1 where not seen; for other classes only."""

    def __init__(
        self,
        *,
        num_samples: int,
        embed_dim: int = 128,
        num_negatives: int = 16384,
        negatives: str = 'other_classes',
        tau: float = 0.07,
        momentum: float = 0.5,
        eps: float = 1e-7,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.num_samples = self._whole('num_samples', num_samples, 2)
        self.embed_dim = self._whole('embed_dim', embed_dim)
        self.num_negatives = self._whole('num_negatives', num_negatives)
        self.negatives = self._choice('negatives', negatives, NEGATIVES)
        self.tau = self._number('tau', tau, positive=True)
        self.momentum = self._number('momentum', momentum)
        if momentum >= 1:
            raise ValueError(
                f'{self.name}: momentum is {momentum!r}; set a number < 1, '
                'or the banks never change.'
            )
        self.eps = self._number('eps', eps)

    def _check_pairs(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        super()._check_pairs(ours, theirs)
        if len(ours) != 1:
            raise ValueError(
                f'{self.name}: it compares one feature; the signal has '
                f'{len(ours)}. Choose one with levels, and give each other '
                'feature its own loss.'
            )

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        width = self.embed_dim
        self.embeds = nn.ModuleList(
            nn.Linear(shape[1], width) for shape in (*student, *teacher)
        )
        bound = 1 / math.sqrt(width / 3)
        for side in ('student', 'teacher'):
            bank = torch.empty(self.num_samples, width)
            nn.init.uniform_(bank, -bound, bound)
            self.register_buffer(f'{side}_bank', bank)
        self.register_buffer('log_z', torch.full((2,), math.nan))
        if self.negatives == 'other_classes':
            labels = torch.full((self.num_samples,), -1)
            self.register_buffer('labels', labels)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        embeds = [pooled(feature) for feature in (*student, *teacher)]
        ours, theirs = map(unit, self.connect(self.embeds, embeds))
        ids = check_ids(self.name, batch.sample_ids, ours, self.num_samples)
        everyone = self._learn_labels(ids, batch)
        loss, log_z = crd_loss(
            ours,
            theirs,
            self.student_bank,
            self.teacher_bank,
            self.draw(ids),
            self.log_z,
            tau=self.tau,
            eps=self.eps,
            sync=self.sync_stats,
        )
        if self.training:
            self.log_z.copy_(log_z)
            both = torch.cat([ours, theirs], dim=1).detach()
            both = global_rows(both, self.sync_stats)
            banks = self.student_bank, self.teacher_bank
            for bank, rows in zip(banks, both.chunk(2, dim=1), strict=True):
                update_bank(bank, everyone, rows, self.momentum)
        return loss

    def draw(self, ids: Tensor) -> Tensor:
        """Rows of the banks for ids ``(B,)``, see :func:`draw_contrast`."""
        return draw_contrast(
            ids,
            self.num_samples,
            self.num_negatives,
            self.labels if self.negatives == 'other_classes' else None,
        )

    def _learn_labels(self, ids: Tensor, batch: DistillBatch) -> Tensor:
        """Store the labels of all ranks' images; return their ids."""
        if self.negatives == 'all':
            return global_rows(ids, self.sync_stats)
        labels = check_labels(
            self.name,
            self.need(batch, 'labels', OTHERS, "set negatives='all'"),
            ids,
            OTHERS,
        )
        pairs = torch.stack([ids, labels], dim=1)
        everyone, labels = global_rows(pairs, self.sync_stats).unbind(dim=1)
        self.labels.index_copy_(0, everyone, labels)
        return everyone
