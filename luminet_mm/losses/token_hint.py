"""Token hints: early tokens learn a CNN's early maps (after DearKD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Use
from luminet_mm.losses.base.feature import FeatureLoss, Features
from luminet_mm.losses.base.tensors import size_of
from luminet_mm.losses.base.tokens import as_map, grid_of, read_grid
from luminet_mm.losses.fitnet import hint_loss
from luminet_mm.registry import MODELS


def token_hint_loss(
    student: Tensor, teacher: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Mean squared distance of a token map to a map of any size.

    .. math:: L = \mathrm{mean}\,(R(f_s) - f_t)^2

    where R resizes, bilinearly and by pixel centres, to the teacher's height
    and width.

    Args:
        student: ``(B, C, h, w)``, the tokens with the teacher's channels.
        teacher: ``(B, C, H, W)``; detach it if it carries a graph.
        sync: Whether the mean is over the rows of all ranks.

    Returns:
        Scalar; 0 without rows.

    Examples:
        >>> import torch
        >>> student = torch.zeros(2, 8, 3, 3)  # 9 tokens in 8 channels
        >>> token_hint_loss(student, torch.full((2, 8, 6, 6), 2.0))
        tensor(4.)
    """
    if student.shape[2:] != teacher.shape[2:]:
        student = F.interpolate(
            student,
            size=size_of(teacher),
            mode='bilinear',
            align_corners=False,
        )
    return hint_loss(student, teacher, sync=sync)


@MODELS.register_module()
class TokenHintLoss(FeatureLoss):
    """Hints from a CNN to a transformer, see :func:`token_hint_loss`.

    The first stage of `DearKD: Data-Efficient Early Knowledge Distillation for
    Vision Transformers <https://arxiv.org/abs/2204.12997>`_, as far as it is
    public: an aligner maps tokens of early blocks to the shape of a CNN's
    early features, and the two are compared. DearKD's own aligner, its layers,
    weights and attention heads are not public. The aligner here is a 1x1
    convolution on the patch tokens and a bilinear resize; the config sets the
    layers to compare and the weight.

    The losses of several pairs add up. Signals that already are maps are used
    directly.

    Args:
        extra_tokens: Number of tokens before those of the patches: 1 with a
            class token, 2 with a distillation token too.
        grid: Rows and columns of patches; a square by default.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range; in ``forward`` and
            ``build``, if the patches do not form a grid.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import TokenHintLoss
        >>> tokens, maps = torch.randn(2, 1 + 4, 6), torch.rand(2, 8, 4, 4)
        >>> loss = TokenHintLoss().build(tokens, maps)
        >>> loss(tokens, maps).backward()
        >>> loss.align[0]
        Conv2d(6, 8, kernel_size=(1, 1), stride=(1, 1))
    """

    card = Card(
        title='Token hints, after DearKD',
        key='token_hint',
        paper=Paper(
            'DearKD: Data-Efficient Early Knowledge Distillation for Vision '
            'Transformers',
            'Chen et al. 2022',
            'https://arxiv.org/abs/2204.12997',
        ),
        signals=Signals('early tokens', 'first map'),
        uses=dict(classifier=Use()),
        needs=('a student with tokens', 'a teacher with maps'),
        optimizer='AdamW',
    )
    dims = (3, 4)
    has_connectors = True

    def __init__(
        self,
        *,
        extra_tokens: int = 1,
        grid: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.extra_tokens = self._whole('extra_tokens', extra_tokens, 0)
        self.grid = read_grid(self.name, grid)

    def select(self, side: str, value: Features) -> list[Tensor]:
        """See :meth:`FeatureLoss.select`; patch tokens become maps."""
        return [
            self._map(feature) if feature.dim() == 3 else feature
            for feature in super().select(side, value)
        ]

    def _map(self, tokens: Tensor) -> Tensor:
        patches = tokens[:, self.extra_tokens :]
        grid = grid_of(self.name, patches.shape[1], self.grid, 'extra_tokens')
        return as_map(patches, grid)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        self.align = nn.ModuleList(
            nn.Conv2d(ours[1], theirs[1], 1)
            for ours, theirs in zip(student, teacher, strict=True)
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        return self.total(
            token_hint_loss(ours, theirs, sync=self.sync_stats)
            for ours, theirs in zip(
                self.connect(self.align, student), teacher, strict=True
            )
        )
