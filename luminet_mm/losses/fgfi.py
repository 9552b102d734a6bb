"""FGFI: imitation near the objects' anchors (Wang et al.)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from luminet_mm.connectors import LAST_RELU, ends_in_relu
from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss, Features
from luminet_mm.losses.base.tensors import by_image, size_of
from luminet_mm.registry import MODELS

Priors = Callable[[list[tuple[int, int]]], list[Tensor]]
_PAIRS = 2**21  # of boxes and anchors, compared at a time


def fgfi_loss(
    student: Tensor, teacher: Tensor, mask: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Squared distance of two maps near the objects.

    .. math:: L = \frac{1}{2 N} \sum_{i, hw} m_{i, hw} \sum_c (s - t)^2

    Summed over channels, averaged over the :math:`N` positions that the mask
    keeps in the whole batch.

    Args:
        student: ``(B, C, H, W)``, after its adaptation.
        teacher: The same shape; detach it if it carries a graph.
        mask: ``(B, H, W)`` bool, see :func:`imitation_mask`.
        sync: Whether the mean is over the positions of all ranks.

    Returns:
        Scalar; 0 if the mask keeps nothing.

    Examples:
        >>> mask = torch.tensor([[[True, False]]])
        >>> fgfi_loss(torch.zeros(1, 4, 1, 2), torch.ones(1, 4, 1, 2), mask)
        tensor(2.)
    """
    distance = (student - teacher).square().sum(dim=1)
    weights = mask.flatten().to(distance.dtype)
    return global_mean(distance.flatten(), weights, sync) / 2


def imitation_mask(
    boxes: list[Tensor],
    anchors: Tensor,
    size: tuple[int, int],
    *,
    threshold: float = 0.5,
    legacy: bool = False,
) -> Tensor:
    """The positions with an anchor that overlaps an object well.

    An anchor does so if its IoU with the object's box exceeds ``threshold``
    times the best IoU of any anchor of this level with it.

    Args:
        boxes: ``(G, 4)`` boxes of each image, as corners.
        anchors: ``(H * W * A, 4)``, point by point, as corners. Those that
            cross the border also count.
        size: H and W.
        threshold: Fraction of the best IoU.
        legacy: Whether widths are ``x2 - x1 + 1``, as for boxes whose corners
            are pixel indices.

    Returns:
        ``(B, H, W)`` bool.
    """
    if not any(len(each) for each in boxes):
        shape = len(boxes), *size
        return torch.zeros(shape, dtype=torch.bool, device=anchors.device)
    every = torch.cat(boxes).to(anchors)
    if legacy:
        every, anchors = (
            torch.cat([corners[:, :2], corners[:, 2:] + 1], dim=1)
            for corners in (every, anchors)
        )
    # In chunks: 100 boxes and the anchors of P2 are 20 million pairs.
    chunk = max(_PAIRS // len(anchors), 1)
    good = [
        _near(some, anchors, threshold).unflatten(1, (*size, -1)).any(dim=3)
        for some in every.split(chunk)
    ]
    return by_image(torch.cat(good), boxes).any(dim=1)


def _near(boxes: Tensor, anchors: Tensor, threshold: float) -> Tensor:
    """Which anchors overlap each box well, ``(G, A)`` bool."""
    iou = box_iou(boxes, anchors)
    return iou > threshold * iou.amax(dim=1, keepdim=True)


@MODELS.register_module()
class FGFILoss(FeatureLoss):
    """Fine-grained imitation, see :func:`fgfi_loss`; sums over maps.

    `Distilling Object Detectors with Fine-grained Feature Imitation
    <https://arxiv.org/abs/1906.03609>`_. The code in :attr:`card` compares the
    single map of a VGG with weight 0.01 and skips the first 400 steps (use a
    schedule for that here). In a pyramid every level has its own anchors and
    its own mean. An adaptation (3x3 convolution, ReLU) of the student's maps
    is trained with the student. It has no ReLU if the teacher's map has
    negative values, as in a pyramid, since it could not reach them.

    It needs the ground-truth boxes and the anchors, which belong to the maps
    that the RPN reads: those of the neck, if there is one.

    Args:
        threshold: Fraction of an object's best IoU that an anchor has to
            exceed, at least 0 and less than 1; the paper's psi.
        legacy: Whether to compute the IoU as the official code does, with
            widths ``x2 - x1 + 1``; MMDetection's boxes do not add 1.
        last_relu: Whether the adaptations end in a ReLU. None: only those to
            maps without negative values in the dry run.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import DistillBatch, FGFILoss
        >>> student, teacher = torch.rand(1, 4, 1, 2), torch.rand(1, 6, 1, 2)
        >>> loss = FGFILoss().build([student], [teacher])
        >>> anchors = torch.tensor([[0., 0., 8., 8.], [8., 0., 16., 8.]])
        >>> box = torch.tensor([[9., 1., 16., 8.]])  # at the second position
        >>> batch = DistillBatch(boxes=[box], priors=lambda sizes: [anchors])
        >>> loss([student], [teacher], batch).backward()
        >>> loss.adaptation[0]
        Sequential(
          (0): Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
          (1): ReLU()
        )
    """

    card = Card(
        title='FGFI',
        key='fgfi',
        paper=Paper(
            'Distilling Object Detectors with Fine-grained Feature Imitation',
            'Wang et al. 2019',
            'https://arxiv.org/abs/1906.03609',
        ),
        sources=(
            Source(
                'twangnh/Distilling-Object-Detectors',
                'c6583f3',
                '',
                (
                    'lib/model/rpn/anchor_target_layer.py',
                    'trainval_net_sup.py',
                ),
            ),
        ),
        signals=Signals('maps'),
        uses=dict(
            detector=Use(options=dict(loss_weight=0.01), settings=dict()),
            dense=Use(
                options=dict(loss_weight=0.01),
                only=('RetinaNet', 'ATSS', 'GFL'),
            ),
        ),
        needs=(
            'boxes',
            'anchors',
        ),
    )

    dims = (4,)
    has_connectors = True
    same_size = True
    needs_anchors = True

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        legacy: bool = False,
        last_relu: bool | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.threshold = self._number('threshold', threshold)
        if threshold >= 1:
            raise ValueError(
                f'{self.name}: threshold is {threshold!r}; set a fraction of '
                'the best IoU, at least 0 and less than 1.'
            )
        self.legacy = legacy
        self.last_relu = self._choice('last_relu', last_relu, LAST_RELU)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        self.adaptation = nn.ModuleList(
            _adaptation(
                ours[1], theirs[1], ends_in_relu(self.last_relu, after)
            )
            for ours, theirs, after in zip(
                student, teacher, self.after_relu['teacher'], strict=True
            )
        )

    def forward(
        self,
        student: Features,
        teacher: Features | None = None,
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """See :meth:`FeatureLoss.forward`; levels also choose anchors."""
        levels = self.levels_of('student')
        if levels is not None and batch and batch.priors is not None:
            priors = partial(_priors_of_levels, batch.priors, student, levels)
            batch = replace(batch, priors=priors)
        return super().forward(student, teacher, batch)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        boxes = self.need(batch, 'boxes', images=len(student[0]))
        priors = self.need(batch, 'priors')
        sizes = [size_of(maps) for maps in student]
        anchors = self._anchors(priors, sizes, student[0])
        student = self.connect(self.adaptation, student)
        terms = []
        for ours, theirs, of_level, size in zip(
            student, teacher, anchors, sizes, strict=True
        ):
            mask = imitation_mask(
                boxes,
                of_level,
                size,
                threshold=self.threshold,
                legacy=self.legacy,
            )
            terms.append(fgfi_loss(ours, theirs, mask, sync=self.sync_stats))
        return self.total(terms)

    def _anchors(
        self, priors: Priors, sizes: list[tuple[int, int]], like: Tensor
    ) -> list[Tensor]:
        try:
            anchors = [each.to(like) for each in priors(sizes)]
        except AssertionError:  # MMDetection's, for another number of levels
            anchors = []
        if len(anchors) != len(sizes) or any(
            len(each) % (h * w) or not len(each)
            for each, (h, w) in zip(anchors, sizes)
        ):
            raise ValueError(
                f'{self.name}: the anchors do not belong to maps of size '
                f"{sizes}. Compare the maps that the student's RPN or dense "
                "head reads: 'neck', if there is one."
            )
        return anchors


def _priors_of_levels(
    priors: Priors,
    maps: Features,
    levels: Sequence[int],
    sizes: list[tuple[int, int]],
) -> list[Tensor]:
    """Restrict a function for the anchors of all levels to some levels."""
    every = [maps] if isinstance(maps, Tensor) else maps
    anchors = priors([size_of(each) for each in every])
    return [anchors[level] for level in levels]


def _adaptation(inputs: int, outputs: int, last_relu: bool) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.trunc_normal_(conv.weight, std=1e-4, a=-2e-4, b=2e-4)
    return nn.Sequential(conv, *[nn.ReLU()] * last_relu)
