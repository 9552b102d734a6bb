"""ViTKD: mimic early tokens and generate the last ones (Yang et al.)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.tokens import as_map, grid_of, read_grid
from luminet_mm.registry import MODELS


def mimic_loss(
    student: Tensor, teacher: Tensor, *, sync: bool = False
) -> Tensor:
    r"""Squared distance of two models' tokens.

    .. math:: L = \frac1B \sum_{i, n, d} (s_{ind} - t_{ind})^2

    Args:
        student: ``(B, N, D)``.
        teacher: The same shape; detach it if it carries a graph.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without images.
    """
    distance = (student - teacher).square().flatten(1).sum(dim=1)
    return global_mean(distance, sync=sync)


def generation_loss(
    student: Tensor,
    teacher: Tensor,
    masked: Tensor,
    mask_token: Tensor,
    generate: Callable[[Tensor], Tensor],
    *,
    grid: tuple[int, int],
    sync: bool = False,
) -> Tensor:
    r"""Squared distance of the teacher's masked tokens to generated ones.

    .. math:: L = \frac1B \sum_{i, n, d} m_{in}
              \big(G((1 - m) \odot s + m \odot e)_{ind} - t_{ind}\big)^2

    Args:
        student: ``(B, N, D)``, with the teacher's width.
        teacher: The same shape; detach it if it carries a graph.
        masked: ``(B, N)`` bool, :math:`m`.
        mask_token: ``(1, 1, D)``, :math:`e`, which replaces masked tokens.
        generate: :math:`G`, from maps ``(B, D, h, w)`` to maps.
        grid: ``(h, w)``, the tokens' rows and columns; ``h * w == N``.
        sync: Whether the mean is over the images of all ranks.

    Returns:
        Scalar; 0 without images.
    """
    mask = masked[..., None]
    tokens = torch.where(mask, mask_token, student)
    maps = as_map(tokens, grid)
    generated = generate(maps).flatten(2).transpose(1, 2)
    distance = (generated - teacher).square() * mask
    return global_mean(distance.flatten(1).sum(dim=1), sync=sync)


def draw_masked(tokens: Tensor, ratio: float) -> Tensor:
    """Draw the masked tokens, equally many in each image.

    Uses torch's generator for the tokens' device.

    Args:
        tokens: ``(B, N, D)``.
        ratio: Fraction of masked tokens; ``int(N (1 - ratio))`` are kept.

    Returns:
        ``(B, N)`` bool.
    """
    b, n, _ = tokens.shape
    order = torch.rand(b, n, device=tokens.device).argsort(dim=1)
    return order.argsort(dim=1) >= int(n * (1 - ratio))


@MODELS.register_module()
class ViTKDLoss(FeatureLoss):
    r"""Feature distillation from a transformer to a transformer.

    `ViTKD: Practical Guidelines for ViT feature knowledge distillation
    <https://arxiv.org/abs/2209.02432>`_. The last signal is generated, the
    ones before it are mimicked:

    .. math:: L = \alpha \sum_l L_{mimic}(f_l(s_l), t_l)
              + \frac{\beta}{\lambda} L_{gen}(f(s), t)

    with :func:`mimic_loss` and :func:`generation_loss`. The :math:`f` are
    linear layers, omitted if widths are equal. The code in :attr:`card` uses
    the tokens of the first two blocks, before any norm, and those of the last
    block after the final norm, of transformers with 12 or 24 blocks:

    ``signal=['backbone.layers.0', 'backbone.layers.1', 'backbone.ln1']``

    with cross entropy of weight 1, mostly together with NKD (tau 1, gamma 1).
    Student and teacher must split an image into the same patches. Alpha and
    beta are small because of the sums over tokens and channels; the defaults
    are the published ones, for patches of 16 pixels in images of 224.

    Args:
        alpha: Weight of the mimicked tokens, >= 0.
        beta: Weight of the generated tokens, >= 0.
        mask_ratio: Fraction of masked tokens, greater than 0 and less than 1;
            the paper's lambda.
        student_extra_tokens: Number of student tokens before the patches,
            which are dropped: 1 for a class token, 2 with a distillation
            token.
        teacher_extra_tokens: The same for the teacher.
        grid: Rows and columns of patches; a square by default.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range; in ``forward`` and
            ``build``, if both sides do not have the same patches.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import ViTKDLoss
        >>> student = [torch.rand(2, 10, 4)] * 3  # class token, 3 x 3 patches
        >>> teacher = [torch.rand(2, 10, 6)] * 3
        >>> loss = ViTKDLoss().build(student, teacher)
        >>> loss(student, teacher).backward()
        >>> [name for name, _ in loss.named_children()]
        ['align', 'generator']
    """

    card = Card(
        title='ViTKD',
        key='vitkd',
        paper=Paper(
            'ViTKD: Practical Guidelines for ViT feature knowledge '
            'distillation',
            'Yang et al. 2022',
            'https://arxiv.org/abs/2209.02432',
        ),
        sources=(
            Source(
                'yzd-v/cls_KD',
                'e21ad37',
                'Apache-2.0',
                ('mmcls/models/dis_losses/vitkd.py',),
            ),
        ),
        signals=Signals('tokens'),
        uses=dict(
            classifier=Use(),
        ),
        needs=('transformers with the same patches',),
        formula_alone=True,
        optimizer='AdamW',
    )

    dims = (3,)
    has_connectors = True

    def __init__(
        self,
        *,
        alpha: float = 3e-5,
        beta: float = 3e-6,
        mask_ratio: float = 0.5,
        student_extra_tokens: int = 1,
        teacher_extra_tokens: int = 1,
        grid: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha = self._number('alpha', alpha)
        self.beta = self._number('beta', beta)
        self.mask_ratio = self._number('mask_ratio', mask_ratio, positive=True)
        if mask_ratio >= 1:
            raise ValueError(
                f'{self.name}: mask_ratio is {mask_ratio!r}; set a fraction '
                'greater than 0 and less than 1.'
            )
        self.student_extra_tokens = self._whole(
            'student_extra_tokens', student_extra_tokens, 0
        )
        self.teacher_extra_tokens = self._whole(
            'teacher_extra_tokens', teacher_extra_tokens, 0
        )
        self.grid = read_grid(self.name, grid)

    def select(self, side: str, value: Tensor | Sequence[Tensor]) -> list:
        """The patch tokens, see :meth:`FeatureLoss.select`."""
        extra = getattr(self, f'{side}_extra_tokens')
        return [tokens[:, extra:] for tokens in super().select(side, value)]

    def _check_pairs(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        super()._check_pairs(ours, theirs)
        counts = [[x.shape[1] for x in side] for side in (ours, theirs)]
        if counts[0] != counts[1]:
            raise ValueError(
                f'{self.name}: the student has {counts[0]} patches and the '
                f'teacher {counts[1]}, without {self.student_extra_tokens} '
                f'and {self.teacher_extra_tokens} extra tokens. Both need the '
                'same patch size, or student_extra_tokens or '
                'teacher_extra_tokens is wrong: 2 with a distillation token.'
            )
        self._grid(counts[0][-1])

    def _grid(self, patches: int) -> tuple[int, int]:
        """Rows and columns of the last tokens."""
        options = 'student_extra_tokens and teacher_extra_tokens'
        return grid_of(self.name, patches, self.grid, options)

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        self.align = nn.ModuleList(
            nn.Identity()
            if ours[2] == theirs[2]
            else nn.Linear(ours[2], theirs[2])
            for ours, theirs in zip(student, teacher, strict=True)
        )
        width = teacher[-1][2]
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.generator = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        *first, last = self.connect(self.align, student)
        terms = [
            self.alpha * mimic_loss(ours, theirs, sync=self.sync_stats)
            for ours, theirs in zip(first, teacher[:-1], strict=True)
        ]
        generated = generation_loss(
            last,
            teacher[-1],
            self.draw(last),
            self.mask_token.to(last.dtype),
            self._generate,
            grid=self._grid(last.shape[1]),
            sync=self.sync_stats,
        )
        return self.total([*terms, self.beta / self.mask_ratio * generated])

    def draw(self, tokens: Tensor) -> Tensor:
        """Draw a step's masked tokens, see :func:`draw_masked`."""
        return draw_masked(tokens, self.mask_ratio)

    def _generate(self, maps: Tensor) -> Tensor:
        return self.connect(nn.ModuleList([self.generator]), [maps])[0]
