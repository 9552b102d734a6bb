"""What a detector's batch is annotated with, for losses on maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

from luminet_mm.losses.base.batch import DistillBatch


def anchor_generator(model: Any) -> Any:
    """What makes the anchors of a detector's pyramid; None without anchors.

    Points, such as FCOS has, are not anchors.
    """
    for part in ('rpn_head', 'bbox_head'):
        head = getattr(model, part, None)
        generator = getattr(head, 'prior_generator', None)
        if hasattr(generator, 'base_anchors'):
            return generator
    return None


def count_objects(samples: Sequence) -> int:
    """How many objects are annotated in a batch."""
    return sum(len(sample.gt_instances) for sample in samples)


def annotated(
    images: Tensor, samples: Sequence, generator: Any
) -> DistillBatch:
    """Boxes and sizes of the images, and anchors of the pyramid.

    Args:
        images: The batch, ``(B, 3, H, W)``.
        samples: Its annotations.
        generator: Makes the anchors; None where there are none.
    """
    priors = generator and partial(generator.grid_priors, device=images.device)
    height, width = images.shape[-2:]
    return DistillBatch(
        boxes=[
            get_box_tensor(sample.gt_instances.bboxes) for sample in samples
        ],
        image_shapes=[tuple(sample.img_shape[:2]) for sample in samples],
        input_shape=(height, width),
        priors=priors,
    )
