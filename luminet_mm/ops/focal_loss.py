r"""Sigmoid and softmax focal loss with mmcv's signatures.

`Focal Loss for Dense Object Detection <https://arxiv.org/abs/1708.02002>`_,
equation (5). Arithmetic is fp32 whatever the logits' type, and so is the loss
of half-precision logits; their gradient has their own type.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from luminet_mm.ops.common import widen


class _SigmoidFocalLoss(Function):
    r"""Element-wise loss that saves only its inputs for backward.

    A one-stage detector scores hundreds of thousands of anchors per image;
    autograd would save half a dozen tensors of that size. With :math:`z = x`
    in the target's column and :math:`z = -x` elsewhere, :math:`a = \alpha` and
    :math:`a = 1 - \alpha`, :math:`p = \sigma(z)`:

    .. math::
        L = -a (1 - p)^\gamma \log p, \qquad
        \frac{\partial L}{\partial z} =
            -a (1 - p)^\gamma (1 - p - \gamma p \log p)
    """

    @staticmethod
    def _parts(logits, target, gamma, alpha):
        column = torch.arange(logits.size(1), device=logits.device)
        positive = target[:, None] == column
        sign = torch.where(positive, 1.0, -1.0).to(widen(logits).dtype)
        z = sign * widen(logits)
        scale = -torch.where(positive, alpha, 1 - alpha).to(z.dtype)
        scale *= torch.sigmoid(-z) ** gamma
        return sign, z, scale

    @staticmethod
    def forward(ctx, logits, target, gamma, alpha):
        ctx.save_for_backward(logits, target)
        ctx.gamma, ctx.alpha = gamma, alpha
        _, z, scale = _SigmoidFocalLoss._parts(logits, target, gamma, alpha)
        return scale * F.logsigmoid(z)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        logits, target = ctx.saved_tensors
        sign, z, scale = _SigmoidFocalLoss._parts(
            logits, target, ctx.gamma, ctx.alpha
        )
        slope = torch.sigmoid(-z)
        slope = slope - ctx.gamma * torch.sigmoid(z) * F.logsigmoid(z)
        grad = grad_output * sign * scale * slope
        return grad.to(logits.dtype), None, None, None


def _check(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    if input.dim() != 2 or target.shape != input.shape[:1]:
        raise ValueError(
            'input must be (N, C) and target (N,), got '
            f'{tuple(input.shape)} and {tuple(target.shape)}'
        )
    if target.dtype != torch.long:
        raise TypeError(f'target must be int64, got {target.dtype}')
    if weight is not None and weight.shape != input.shape[1:]:
        raise ValueError(
            f'weight must be (C,) = ({input.size(1)},), got '
            f'{tuple(weight.shape)}'
        )


def _row_weight(target: Tensor, weight: Tensor) -> Tensor:
    """The target class's weight per row; 1 if the target is not a class."""
    is_class = (target >= 0) & (target < weight.numel())
    picked = weight[target.clamp(0, weight.numel() - 1)]
    return torch.where(is_class, picked, torch.ones_like(picked))


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    """Reduce over all entries; 'mean' divides by rows, as mmcv does."""
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        return loss.sum()
    if reduction == 'mean':
        return loss.sum() / max(loss.size(0), 1)
    raise ValueError(
        f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}"
    )


def sigmoid_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    """Focal loss of one binary classifier per column.

    Args:
        input: Logits of shape (N, C).
        target: int64 of shape (N,); C (or any other number that is
            not a column) is background.
        gamma: Focusing exponent.
        alpha: Weight of the target's column; the others have
            ``1 - alpha``.
        weight: Shape (C,): weight of a row by its target;
            background rows have 1.
        reduction: 'none', 'sum', or 'mean' (sum over N rows and C
            columns divided by N; 0 if N is 0).

    Returns:
        Shape (N, C) for 'none', else a scalar; fp32 or fp64.

    Raises:
        ValueError: Shapes or ``reduction`` do not fit.
        TypeError: ``target`` is not int64.
    """
    _check(input, target, weight)
    loss = _SigmoidFocalLoss.apply(input, target, float(gamma), float(alpha))
    if weight is not None:
        loss = loss * _row_weight(target, weight)[:, None]
    return _reduce(loss, reduction)


def softmax_focal_loss(
    input: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Focal loss of one softmax classifier.

    .. math:: L_n = -\alpha (1 - p_n)^\gamma \log p_n,
        \quad p_n = \mathrm{softmax}(x_n)_{t_n}

    Args:
        input: Logits of shape (N, C).
        target: int64 of shape (N,); rows with a negative target
            contribute no loss and no gradient.
        gamma: Focusing exponent.
        alpha: Factor of every row.
        weight: Shape (C,): weight of a row by its target.
        reduction: 'none', 'sum', or 'mean' over all N rows (0 if N is
            0).

    Returns:
        Shape (N,) for 'none', else a scalar; fp32 or fp64.

    Raises:
        ValueError: Shapes or ``reduction`` do not fit.
        TypeError: ``target`` is not int64.
    """
    _check(input, target, weight)
    column = target.clamp(min=0)[:, None]
    log_p = widen(input).log_softmax(1).gather(1, column).squeeze(1)
    # 1 - p, clamped: the slope of its power is infinite at 0 for gamma < 1.
    rest = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    loss = -alpha * rest**gamma * log_p
    if weight is not None:
        loss = loss * _row_weight(target, weight)
    loss = torch.where(target >= 0, loss, torch.zeros_like(loss))
    return _reduce(loss, reduction)


class _FocalLoss(nn.Module):
    """The base class of the two modules.

    Args:
        gamma: Focusing exponent.
        alpha: Weight of the target's column.
        weight: Shape (C,): weight of a row by its target.
        reduction: 'none', 'mean' or 'sum'.
    """

    weight: Tensor | None

    def __init__(
        self,
        gamma: float,
        alpha: float,
        weight: Tensor | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.register_buffer('weight', weight)
        self.reduction = reduction

    def extra_repr(self) -> str:
        return (
            f'gamma={self.gamma}, alpha={self.alpha}, '
            f'reduction={self.reduction}'
        )


class SigmoidFocalLoss(_FocalLoss):
    """Module of :func:`sigmoid_focal_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """See :func:`sigmoid_focal_loss`."""
        return sigmoid_focal_loss(
            input, target, self.gamma, self.alpha, self.weight, self.reduction
        )


class SoftmaxFocalLoss(_FocalLoss):
    """Module of :func:`softmax_focal_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """See :func:`softmax_focal_loss`."""
        return softmax_focal_loss(
            input, target, self.gamma, self.alpha, self.weight, self.reduction
        )
