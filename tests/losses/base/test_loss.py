"""What a distiller expects of a loss."""

import pytest
import torch

from luminet_mm.losses import (
    CRDLoss,
    DistillBatch,
    KDLoss,
)


def test_what_a_batch_lacks_is_named_with_the_fix():
    loss = KDLoss()
    loss.name = 'loss_x'
    with pytest.raises(ValueError) as error:
        loss.need(DistillBatch(), 'boxes', 'legacy=True', 'set legacy=False')
    assert str(error.value) == (
        'loss_x: legacy=True needs batch.boxes, the ground-truth boxes, which '
        'this signal does not provide. Name one that does, such as a '
        "detector's maps, or set legacy=False."
    )
    soft = DistillBatch(soft_labels=torch.rand(2, 3))
    with pytest.raises(ValueError, match='are soft .* or set legacy=False'):
        loss.need(soft, 'labels', 'it', 'set legacy=False')
    boxes = [torch.rand(2, 4)]
    assert loss.need(DistillBatch(boxes=boxes), 'boxes', images=1) is boxes
    with pytest.raises(ValueError, match='batch.boxes has 1 images, but'):
        loss.need(DistillBatch(boxes=boxes), 'boxes', images=2)


def test_labels_are_of_images():
    """A loss on maps has use for them; pixels of dense logits have none."""
    labels, maps = torch.arange(2), torch.zeros(2, 3, 4, 4)
    batch = DistillBatch(labels=labels, soft_labels=maps[:, :, 0, 0])
    for loss, value in (
        (CRDLoss(num_samples=2), (maps,)),
        (KDLoss(), labels[:, None]),
    ):
        assert loss.may_know(value, batch) is batch
    known = KDLoss().may_know(maps, batch)
    assert known.labels is None and known.soft_labels is None
