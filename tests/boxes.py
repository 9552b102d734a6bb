"""Boxes that overlap, and what plain Python makes of them."""

import math

import torch


def some_boxes(count=60, seed=0, dtype=torch.float32):
    """Boxes that overlap a lot, with distinct scores."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 40
    size = 8 + torch.rand(count, 2, generator=generator) * 20
    scores = torch.randperm(count, generator=generator).add(1) / (count + 1)
    return torch.cat((corner, corner + size), 1).to(dtype), scores.to(dtype)


def iou_of(a, b, offset=0, iof=False):
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    overlap = max(width, 0) * max(height, 0)
    areas = [
        (box[2] - box[0] + offset) * (box[3] - box[1] + offset)
        for box in (a, b)
    ]
    return overlap / (areas[0] if iof else sum(areas) - overlap)


def naive_nms(boxes, scores, threshold, offset=0):
    boxes, scores = boxes.tolist(), scores.tolist()
    keep = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou_of(boxes[k], boxes[i], offset) <= threshold for k in keep):
            keep.append(i)
    return keep


def naive_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    boxes, scores = boxes.tolist(), scores.tolist()
    left, keep = list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda i: scores[i])
        left.remove(best)
        keep.append(best)
        for i in left:
            iou = iou_of(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                scores[i] *= math.exp(-iou * iou / sigma)
            elif iou >= threshold:
                scores[i] *= 1 - iou if method == 'linear' else 0
        left = [i for i in left if scores[i] >= min_score]
    return keep, [scores[i] for i in keep]
