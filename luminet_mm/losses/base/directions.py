"""Mahalanobis distance of two models' angles between rows, for SKD (Jeong)."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import global_mean
from luminet_mm.losses.base.tensors import safe_sqrt, unit


def direction_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    tikhonov: float,
    gram_divisor: float = 1.0,
    row_weights: Tensor | None = None,
) -> Tensor:
    r"""Mahalanobis distance of the cosines between rows.

    With U the logits, each row divided by its norm:

    .. math:: G = U U^\top / g, \qquad D = G_s - G_t, \qquad
              S = \mathrm{cov}(D) + \lambda I, \qquad
              L = \frac1N \sum_i \sqrt{D_{i:}\, S^{-1} D_{i:}^\top}

    where the columns of D are the variables of its (unbiased) covariance, but
    the rows are not centred in L. The gradient flows through S. It is computed
    in float64.

    D has a rank of at most twice the number of classes. With more rows than
    that the same number comes from matrices of that size, so the loss serves
    for a thousand RoIs as well.

    Args:
        student_logits: ``(N, C)``.
        teacher_logits: ``(N, C)``; detach it if it carries a graph.
        tikhonov: :math:`\lambda`.
        gram_divisor: :math:`g`.
        row_weights: ``(N,)``, default equal. A row of weight 2 counts as two
            equal rows; one of weight 0 is left out.

    Returns:
        Scalar; 0 with fewer than two rows.

    Examples:
        >>> import torch
        >>> teacher = torch.eye(2)  # at right angles
        >>> float(direction_loss(5 * teacher, teacher, tikhonov=0.1))
        0.0
        >>> student = torch.tensor([[1., 0.], [2., 0.]])  # no angle
        >>> round(float(direction_loss(student, teacher, tikhonov=0.5)), 3)
        1.155
    """
    n, classes = student_logits.shape
    if row_weights is None:
        row_weights = student_logits.new_ones(n)
    weights = row_weights.double()
    ours, theirs = (
        unit(logits.double()) for logits in (student_logits, teacher_logits)
    )
    # from the difference of the rows: one of Gram matrices loses digits if
    # the models nearly agree
    diff, both = ours - theirs, ours + theirs
    left = torch.cat([diff, both], dim=1) / (2 * gram_divisor)
    right = weights.sqrt()[:, None] * torch.cat([both, diff], dim=1)
    if n <= 2 * classes:
        distances = left @ right.T
        squares = _by_cholesky(distances, weights, tikhonov)
    else:
        squares = _by_rank(left, right.T @ right, weights, tikhonov)
    values = safe_sqrt(squares)
    return global_mean(values, weights, sync=False).to(student_logits)


def _covariance(rows: Tensor, weights: Tensor) -> Tensor:
    """Unbiased, of rows that occur as often as their weights say."""
    total = weights.sum()
    mean = (weights[:, None] * rows).sum(dim=0) / total.clamp(min=1)
    centred = rows - mean
    spread = (weights[:, None] * centred).T @ centred
    return spread / (total - 1).clamp(min=1)


def _by_cholesky(rows: Tensor, weights: Tensor, tikhonov: float) -> Tensor:
    eye = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    factor = torch.linalg.cholesky(_covariance(rows, weights) + tikhonov * eye)
    white = torch.linalg.solve_triangular(factor, rows.T, upper=False)
    return white.square().sum(dim=0)


def _by_rank(
    left: Tensor, gram: Tensor, weights: Tensor, tikhonov: float
) -> Tensor:
    """The same of rows ``left @ right.T``, from ``right.T @ right``."""
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    system = _covariance(left, weights) @ gram + tikhonov * eye
    solved = torch.linalg.solve(system, left.T)
    return (left * (gram @ solved).T).sum(dim=1)
