"""Overlaps of pairs of boxes: torchvision's numbers."""

import torch
from torchvision.ops import box_iou, generalized_box_iou_loss

from luminet_mm.losses.base.iou import giou_distances, intersection_and_union


def boxes(seed):
    generator = torch.Generator().manual_seed(seed)
    corners = 6 * torch.rand(50, 2, generator=generator).double()
    extent = 4 * torch.rand(50, 2, generator=generator).double()
    return torch.cat([corners, corners + extent], dim=1)


def test_giou_and_its_gradient_are_torchvisions():
    one, other = boxes(0).requires_grad_(), boxes(1)
    ours = giou_distances(one, other)
    theirs = generalized_box_iou_loss(one, other)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    grads = [
        torch.autograd.grad(each.sum(), one)[0] for each in (ours, theirs)
    ]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: giou_distances(x, other), boxes(2).requires_grad_()
    )


def test_areas():
    one, other = boxes(0), boxes(1)
    shared, union = intersection_and_union(one, other)
    expected = box_iou(one, other).diagonal()
    torch.testing.assert_close(shared / union, expected)
    assert (shared == 0).any() and (shared > 0).any()


def test_boxes_without_an_area_are_finite():
    same = torch.ones(3, 4, requires_grad=True)
    value = giou_distances(same, torch.ones(3, 4))
    value.sum().backward()
    assert value.isfinite().all() and same.grad.isfinite().all()
