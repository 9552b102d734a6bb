"""FGD: separate objects and background, attention, global context (Yang)."""

from __future__ import annotations

import torch
from mmcv.cnn import ContextBlock
from torch import Tensor, nn

from luminet_mm.connectors import align_channels
from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.boxes import Masks, focal_masks, relative_boxes
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tensors import viewable
from luminet_mm.registry import MODELS


def fgd_loss(
    student: Tensor,
    teacher: Tensor,
    contexts: tuple[Tensor, Tensor],
    masks: Masks,
    *,
    foreground: float,
    background: float,
    attention: float,
    relation: float,
    tau: float = 0.5,
    sync: bool = False,
) -> Tensor:
    r"""Focal and global distillation of one map.

    With the attention of a map's positions and of its channels,
    :math:`S(f) = hw\,\sigma_{hw}(\mathrm{mean}_c |f| / \tau)` and
    :math:`A(f) = C\,\sigma_c(\mathrm{mean}_{hw} |f| / \tau)`
    (:math:`\sigma` a softmax):

    .. math:: L = \frac1B \sum \big[
              (\alpha M_{fg} + \beta M_{bg})\, S_t A_t (s - t)^2
              + \gamma (|S_s - S_t| + |A_s - A_t|)
              + \lambda (g_s(s) - g_t(t))^2 \big]

    Args:
        student: ``(B, C, H, W)``, with the teacher's channels.
        teacher: The same shape; detach it if it carries a graph.
        contexts: :math:`g_s(s)` and :math:`g_t(t)`, the maps with their
            global context.
        masks: :math:`M_{fg}` and :math:`M_{bg}`, see :func:`focal_masks`.
        foreground: :math:`\alpha`.
        background: :math:`\beta`.
        attention: :math:`\gamma`.
        relation: :math:`\lambda`.
        tau: Temperature of the attention.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 2, 1, 2), torch.ones(1, 2, 1, 2)
        >>> inside = torch.tensor([[[1., 0.]]])  # an object on the left
        >>> weights = dict(attention=0.0, relation=0.0)
        >>> fgd_loss(
        ...     student, teacher, (student, teacher), (inside, 1 - inside),
        ...     foreground=2.0, background=0.5, **weights)  # 2 channels: 4 + 1
        tensor(5.)
    """
    spatial_s, channel_s = _attention(student, tau)
    spatial_t, channel_t = _attention(teacher, tau)
    weights = spatial_t * (foreground * masks[0] + background * masks[1])
    distance = (student - teacher).square() * channel_t[:, :, None, None]
    focal = (weights * distance.sum(dim=1)).sum(dim=(1, 2))
    attended = (spatial_s - spatial_t).abs().sum(dim=(1, 2))
    attended = attended + (channel_s - channel_t).abs().sum(dim=1)
    related = (contexts[0] - contexts[1]).square().sum(dim=(1, 2, 3))
    return global_mean(
        focal + attention * attended + relation * related, sync=sync
    )


def _attention(maps: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Attention ``(B, H, W)`` of positions and ``(B, C)`` of channels."""
    _, c, h, w = maps.shape
    strength = maps.abs()
    spatial = (strength.mean(dim=1).flatten(1) / tau).softmax(dim=1)
    channel = (strength.mean(dim=(2, 3)) / tau).softmax(dim=1)
    return h * w * spatial.unflatten(1, (h, w)), c * channel


@MODELS.register_module()
class FGDLoss(FeatureLoss):
    """Focal and global distillation, see :func:`fgd_loss`; sums over maps.

    `Focal and Global Knowledge Distillation for Detectors
    <https://arxiv.org/abs/2111.11837>`_. The code in :attr:`card` compares all
    five levels of the neck. The defaults are its weights for Faster, Cascade
    and Mask R-CNN; RetinaNet and GFL use 1e-3, 5e-4, 5e-4 and 5e-6. The global
    context blocks of both sides (GCNet's, with half the channels inside) are
    trained with the student, and so is a 1x1 convolution on the student's maps
    if channels differ.

    It needs the ground-truth boxes.

    Args:
        foreground: Weight of the objects, the paper's alpha, >= 0.
        background: Weight of the background, beta, >= 0.
        attention: Weight of the attention's difference, gamma, >= 0.
        relation: Weight of the global context, lambda, >= 0.
        tau: Temperature of the attention, > 0.
        legacy: Whether to place the boxes as the official code does, which
            scales each image's unpadded size to the map. With padding this
            shifts them; by default the padded size is scaled.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, FGDLoss
        >>> student, teacher = torch.rand(1, 8, 8, 8), torch.rand(1, 16, 8, 8)
        >>> loss = FGDLoss().build([student], [teacher])
        >>> box = torch.tensor([[3., 5., 30., 40.]])
        >>> batch = DistillBatch(boxes=[box], input_shape=(64, 64))
        >>> loss([student], [teacher], batch).backward()
        >>> loss.align[0].weight.grad.shape
        torch.Size([16, 8, 1, 1])
    """

    card = Card(
        title='FGD',
        key='fgd',
        paper=Paper(
            'Focal and Global Knowledge Distillation for Detectors',
            'Yang et al. 2022',
            'https://arxiv.org/abs/2111.11837',
        ),
        sources=(
            Source(
                'yzd-v/FGD',
                'c03a6cf',
                'Apache-2.0',
                ('mmdet/distillation/losses/fgd.py',),
            ),
        ),
        signals=Signals('maps'),
        uses=dict(
            detector=Use(settings=dict(loss_weight=1.0)),
        ),
        needs=('boxes',),
    )

    dims = (4,)
    has_connectors = True
    same_size = True

    def __init__(
        self,
        *,
        foreground: float = 5e-5,
        background: float = 2.5e-5,
        attention: float = 5e-5,
        relation: float = 5e-7,
        tau: float = 0.5,
        legacy: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.foreground = self._number('foreground', foreground)
        self.background = self._number('background', background)
        self.attention = self._number('attention', attention)
        self.relation = self._number('relation', relation)
        self.tau = self._number('tau', tau, positive=True)
        self.legacy = legacy

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        self.align = align_channels(student, teacher)
        self.student_context, self.teacher_context = (
            nn.ModuleList(
                ContextBlock(channels, ratio=0.5)
                for _, channels, *_ in teacher
            )
            for _ in ('student', 'teacher')
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        boxes = self._boxes(batch, len(student[0]))
        student = self.connect(self.align, student)
        contexts = zip(
            self.connect(self.student_context, [*map(viewable, student)]),
            self.connect(self.teacher_context, [*map(viewable, teacher)]),
            strict=True,
        )
        return self.total(
            fgd_loss(
                ours,
                theirs,
                context,
                focal_masks(boxes, theirs),
                foreground=self.foreground,
                background=self.background,
                attention=self.attention,
                relation=self.relation,
                tau=self.tau,
                sync=self.sync_stats,
            )
            for ours, theirs, context in zip(
                student, teacher, contexts, strict=True
            )
        )

    def _boxes(self, batch: DistillBatch, images: int) -> list[Tensor]:
        boxes = self.need(batch, 'boxes', images=images)
        if self.legacy:
            shapes = self.need(batch, 'image_shapes', images=images)
        else:
            shapes = [self.need(batch, 'input_shape')] * images
        return relative_boxes(boxes, shapes)
