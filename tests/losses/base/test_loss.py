"""What a distiller expects of a loss."""

import pytest
import torch

from luminet_mm.losses import DistillBatch, KDLoss


def test_what_a_batch_lacks_is_named_with_the_fix():
    loss = KDLoss()
    loss.name = 'loss_x'
    with pytest.raises(ValueError) as error:
        loss.need(DistillBatch(), 'boxes', 'legacy=True', 'set legacy=False')
    assert str(error.value) == (
        'loss_x: legacy=True needs batch.boxes, the ground-truth boxes, which '
        'this signal does not come with. Name one that does, such as a '
        "detector's maps, or set legacy=False."
    )
    soft = DistillBatch(soft_labels=torch.rand(2, 3))
    with pytest.raises(ValueError, match='are soft .* or set legacy=False'):
        loss.need(soft, 'labels', 'it', 'set legacy=False')
    boxes = [torch.rand(2, 4)]
    assert loss.need(DistillBatch(boxes=boxes), 'boxes', images=1) is boxes
    with pytest.raises(ValueError, match='batch.boxes is of 1 images, but'):
        loss.need(DistillBatch(boxes=boxes), 'boxes', images=2)
