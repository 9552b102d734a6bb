"""A convolution at masked positions only, on torch's conv2d."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.utils import _pair


def masked_conv2d(
    features: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int | tuple[int, int] = 0,
    stride: int | tuple[int, int] = 1,
) -> Tensor:
    """Convolve, and set the output to zero where the mask is not positive.

    mmcv computes only the selected positions, which is faster; the values are
    the same. Unlike in mmcv, gradients flow.

    Args:
        features: Shape (1, C_in, H, W).
        mask: Shape (1, H, W); positive at selected positions.
        weight: Shape (C_out, C_in, kh, kw).
        bias: Shape (C_out,).
        padding: As in ``nn.Conv2d``.
        stride: Must be 1.

    Returns:
        Shape (1, C_out, H, W).

    Raises:
        ValueError: The stride is not 1, or a shape does not fit.
    """
    if _pair(stride) != (1, 1):
        raise ValueError(f'masked_conv2d needs stride=1, got {stride}')
    output = F.conv2d(features, weight, bias, padding=_pair(padding))
    if len(features) != 1 or mask.shape != (1, *output.shape[2:]):
        raise ValueError(
            'masked_conv2d needs one image and a mask of the size of its '
            f'output, got {len(features)} images, a mask of shape '
            f'{tuple(mask.shape)} and an output of {tuple(output.shape)}'
        )
    return output * (mask > 0)
