"""RoIAlign and RoIPool with mmcv's signatures, on torchvision's kernels."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.utils import deprecated_api_warning
from torch import Tensor, nn
from torch.nn.modules.utils import _pair
from torchvision import ops as tv_ops

from luminet_mm.ops.common import missing_op, widen


def _prepare(input: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
    """Cast features and RoIs to one type that keeps the coordinates."""
    if rois.dim() != 2 or rois.size(1) != 5:
        raise ValueError(
            'rois must have shape (n, 5) with columns '
            f'(batch_ind, x1, y1, x2, y2), got '
            f'{tuple(rois.shape)}'
        )
    features = widen(input)
    return features, rois.detach().to(features.dtype)


def _tv_roi_align(features: Tensor, rois: Tensor, *where: Any) -> Tensor:
    """Torchvision's; on a CPU its kernel is serial, so RoIs are dealt out.

    RoIs are independent of each other, so the numbers are the same. Where a
    gradient is wanted each part would have one of the size of the whole map.
    """
    alone = (
        torch.get_num_threads() < 2
        or type(features) is not Tensor  # traced, or a parameter
        or features.device.type != 'cpu'
        or (features.requires_grad and torch.is_grad_enabled())
        or torch.jit.is_tracing()
        or torch.compiler.is_compiling()
    )
    # an export would take the number of RoIs for a constant
    if alone or len(rois) < 2:
        return tv_ops.roi_align(features, rois, *where)
    threads = min(torch.get_num_threads(), len(rois))
    # once and not in each thread
    features = features.contiguous()

    def pool(part: Tensor) -> Tensor:
        with torch.no_grad():  # threads do not inherit it
            return tv_ops.roi_align(features, part, *where)

    with ThreadPoolExecutor(threads) as pools:
        return torch.cat(list(pools.map(pool, rois.chunk(threads))))


def roi_align(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = 'avg',
    aligned: bool = True,
) -> Tensor:
    """Pool each RoI from bilinear samples of the feature map.

    Half-precision features are pooled in fp32 and cast back; RoIs are never
    cast below fp32. Gradients flow to ``input`` only, as in mmcv.

    Args:
        input: Features of shape (B, C, H, W).
        rois: Shape (n, 5): index into B, then x1, y1, x2, y2.
        output_size: Height and width of the output.
        spatial_scale: Feature map size over image size.
        sampling_ratio: Samples per bin and axis; 0 uses as many as the
            bin has pixels.
        pool_mode: 'avg', or 'max' with a fixed ``sampling_ratio``.
        aligned: Pixel centres lie at half integers; if False, the
            legacy convention, in which a RoI is at least one pixel wide.

    Returns:
        Shape (n, C, height, width), in the type of ``input``.

    Raises:
        ValueError: ``rois`` is not (n, 5), or ``pool_mode`` is unknown.
        ImportError: 'max' with ``sampling_ratio=0``, which only mmcv has.
    """
    features, rois = _prepare(input, rois)
    height, width = _pair(output_size)
    if pool_mode == 'avg':
        pooled = _tv_roi_align(
            features,
            rois,
            (height, width),
            spatial_scale,
            sampling_ratio,
            aligned,
        )
    elif pool_mode == 'max':
        if sampling_ratio < 1:
            raise missing_op("roi_align(pool_mode='max', sampling_ratio=0)")
        # With one sample per bin, a finer grid has the same sample points as
        # the coarse bins, so the maximum over the finer bins is the result.
        samples = _tv_roi_align(
            features,
            rois,
            (height * sampling_ratio, width * sampling_ratio),
            spatial_scale,
            1,
            aligned,
        )
        pooled = F.max_pool2d(samples, sampling_ratio)
    else:
        raise ValueError(
            f"pool_mode must be 'avg' or 'max', got {pool_mode!r}"
        )
    return pooled.to(input.dtype)


class RoIAlign(nn.Module):
    """Module of :func:`roi_align`; argument names as in mmcv.

    Args:
        output_size: Height and width of the output.
        spatial_scale: Feature map size over image size.
        sampling_ratio: Samples per bin and axis; 0 for dense sampling.
        pool_mode: 'avg' or 'max'.
        aligned: See :func:`roi_align`.
        use_torchvision: Accepted for mmcv's configs; this class always
            uses torchvision.
    """

    @deprecated_api_warning(
        {'out_size': 'output_size', 'sample_num': 'sampling_ratio'},
        cls_name='RoIAlign',
    )
    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = 'avg',
        aligned: bool = True,
        use_torchvision: bool = False,
    ) -> None:
        super().__init__()
        self.output_size = _pair(output_size)
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.pool_mode = pool_mode
        self.aligned = aligned
        self.use_torchvision = use_torchvision

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """See :func:`roi_align`."""
        return roi_align(
            input,
            rois,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.pool_mode,
            self.aligned,
        )

    def extra_repr(self) -> str:
        return (
            f'output_size={self.output_size}, '
            f'spatial_scale={self.spatial_scale}, '
            f'sampling_ratio={self.sampling_ratio}, '
            f'pool_mode={self.pool_mode}, aligned={self.aligned}, '
            f'use_torchvision={self.use_torchvision}'
        )


def roi_pool(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """Max-pool each RoI over a grid of whole pixels.

    Torchvision first rounds a scaled RoI to whole pixels, as Fast R-CNN did.
    mmcv's kernel (CUDA only) rounds each bin outwards instead, so bins differ
    by up to a pixel if RoIs are not aligned with the feature map's grid.

    Args:
        input: Features of shape (B, C, H, W).
        rois: Shape (n, 5): index into B, then x1, y1, x2, y2.
        output_size: Height and width of the output.
        spatial_scale: Feature map size over image size.

    Returns:
        Shape (n, C, height, width), in the type of ``input``.

    Raises:
        ValueError: ``rois`` is not (n, 5).
    """
    features, rois = _prepare(input, rois)
    pooled = tv_ops.roi_pool(features, rois, _pair(output_size), spatial_scale)
    return pooled.to(input.dtype)


class RoIPool(nn.Module):
    """Module of :func:`roi_pool`.

    Args:
        output_size: Height and width of the output.
        spatial_scale: Feature map size over image size.
    """

    def __init__(
        self, output_size: int | tuple[int, int], spatial_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.output_size = _pair(output_size)
        self.spatial_scale = float(spatial_scale)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """See :func:`roi_pool`."""
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return (
            f'output_size={self.output_size}, '
            f'spatial_scale={self.spatial_scale}'
        )
