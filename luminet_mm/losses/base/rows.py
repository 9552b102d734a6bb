"""The base of SRD and VkD: maps, tokens and vectors as rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from luminet_mm.losses.base.feature import FeatureLoss, Features
from luminet_mm.losses.base.tensors import pool_to_smaller, pooled

ROWS = ('pooled', 'positions')


def feature_rows(
    student: Tensor, teacher: Tensor, rows: str
) -> tuple[Tensor, Tensor]:
    """Turn two corresponding features into rows.

    Args:
        student: ``(B, C)`` or ``(B, C, H, W)``.
        teacher: Likewise; channels and size may differ.
        rows: ``'pooled'``: the mean of each map is a row. ``'positions'``:
            each position of each map is a row, after the larger map is
            average-pooled to the smaller. Vectors are already rows.

    Returns:
        ``(N, C_s)`` and ``(N, C_t)``.

    Examples:
        >>> import torch
        >>> student, teacher = torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4)
        >>> ours, theirs = feature_rows(student, teacher, 'positions')
        >>> ours.shape, theirs.shape  # 2 * 4 * 4 positions
        (torch.Size([32, 4]), torch.Size([32, 6]))
    """
    if rows == 'pooled' or student.dim() == 2:
        return pooled(student), pooled(teacher)
    student, teacher = pool_to_smaller(student, teacher)
    return (
        student.movedim(1, -1).flatten(0, 2),
        teacher.movedim(1, -1).flatten(0, 2),
    )


class RowsLoss(FeatureLoss):
    """Base of the losses that compare features row by row.

    A transformer's tokens ``(B, N, D)``, the output of its last norm, are
    averaged over the patches, so that they can be compared with a pooled map.

    Args:
        rows: Rows of maps, ``'pooled'`` or ``'positions'``, see
            :func:`feature_rows`.
        extra_tokens: Number of tokens before those of the patches: 1 with a
            class token, 2 with a distillation token too. A pair if student and
            teacher differ. Only needed for tokens.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range.
    """

    dims = (2, 3, 4)

    def __init__(
        self,
        *,
        rows: str = 'pooled',
        extra_tokens: int | Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.rows = self._choice('rows', rows, ROWS)
        each = (
            tuple(extra_tokens)
            if isinstance(extra_tokens, (list, tuple))
            else (extra_tokens, extra_tokens)
        )
        if extra_tokens is not None and not (
            len(each) == 2 and all(isinstance(n, int) and n >= 0 for n in each)
        ):
            raise ValueError(
                f'{self.name}: extra_tokens is {extra_tokens!r}; set a whole '
                'number >= 0, or a pair of them, for student and teacher.'
            )
        self.extra_tokens = each

    def select(self, side: str, value: Features) -> list[Tensor]:
        """See :meth:`FeatureLoss.select`; averages tokens and pooled maps."""
        features = [
            self._patch_mean(side, feature) if feature.dim() == 3 else feature
            for feature in map(_full, super().select(side, value))
        ]
        if self.rows == 'pooled':
            return [pooled(feature) for feature in features]
        return features

    def _patch_mean(self, side: str, tokens: Tensor) -> Tensor:
        extra = self.extra_tokens[side == 'teacher']
        if extra is None:
            raise ValueError(
                f"{self.name}: the {side}'s signal has tokens of shape "
                f'{tuple(tokens.shape)}; set extra_tokens to the number of '
                'tokens before the patches: 1 for a class token, 2 '
                'with a distillation token.'
            )
        if extra >= tokens.shape[1]:
            raise ValueError(
                f"{self.name}: the {side}'s signal has {tokens.shape[1]} "
                f'tokens, and extra_tokens={extra} leaves no patch.'
            )
        return tokens[:, extra:].mean(dim=1)


def _full(feature: Tensor) -> Tensor:
    """Cast to at least float32, in which means are taken."""
    return feature.to(torch.promote_types(feature.dtype, torch.float32))
