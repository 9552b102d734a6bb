"""The ``mmcv.ops`` that detectors use, on torchvision's kernels.

mmcv's own operators need a compiled extension that takes minutes to build and
has no wheel for most torch versions. Torchvision's wheel has the ones that
detectors use. If the extension is missing, :func:`install` provides this
package's functions under the names of ``mmcv.ops``; otherwise it leaves
``mmcv`` unchanged.
"""

from importlib.metadata import PackageNotFoundError, version

import torch


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return '(version unknown)'


try:
    import torchvision  # noqa: F401

    _ = torch.ops.torchvision.nms
except (AttributeError, RuntimeError) as error:
    # A torchvision built for another torch fails deep inside its own import,
    # with "operator torchvision::nms does not exist" and no advice.
    raise ImportError(
        f'torchvision {_version("torchvision")} does not work with torch '
        f'{_version("torch")} ({error}). The two must be built for each other '
        'and be both CPU builds or both CUDA builds. Reinstall them together, '
        'from one index: '
        'pip install --force-reinstall torch torchvision'
    ) from error

from luminet_mm.ops.batched_nms import batched_nms  # noqa: E402
from luminet_mm.ops.bbox_overlaps import bbox_overlaps  # noqa: E402
from luminet_mm.ops.deform_conv import (  # noqa: E402
    deform_conv2d,
    modulated_deform_conv2d,
)
from luminet_mm.ops.deform_layers import (  # noqa: E402
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
)
from luminet_mm.ops.focal_loss import (  # noqa: E402
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    softmax_focal_loss,
)
from luminet_mm.ops.nms import nms, nms_match, soft_nms  # noqa: E402
from luminet_mm.ops.roi import RoIAlign, RoIPool, roi_align, roi_pool  # noqa: E402
from luminet_mm.ops.standin import install  # noqa: E402
from luminet_mm.ops.sync_bn import SyncBatchNorm  # noqa: E402

__all__ = [
    'DeformConv2d',
    'DeformConv2dPack',
    'ModulatedDeformConv2d',
    'ModulatedDeformConv2dPack',
    'RoIAlign',
    'RoIPool',
    'SigmoidFocalLoss',
    'SoftmaxFocalLoss',
    'SyncBatchNorm',
    'batched_nms',
    'bbox_overlaps',
    'deform_conv2d',
    'install',
    'modulated_deform_conv2d',
    'nms',
    'nms_match',
    'roi_align',
    'roi_pool',
    'sigmoid_focal_loss',
    'soft_nms',
    'softmax_focal_loss',
]
