"""Two ranks with an image each learn what one process learns of both."""

import shutil
import tempfile
from pathlib import Path

import box_caching
import pytest
import tiny
import torch
from box_caching import BOX, FLIP, KD, LUMINET, PACK, PIPELINE, data
from mmengine.dist import barrier, broadcast_object_list
from mmengine.registry import DefaultScope

import luminet_mm  # noqa: F401  (the ranks load this file by itself)

LOSSES = dict(loss_luminet=LUMINET, loss_kd=KD, loss_box=BOX)
STEPS = [*PIPELINE[:3], dict(FLIP, prob=1.0), PACK]
IMAGES = [1, 2]  # of one size: a batch of both has no padding


def gradients(block, root, order):
    """Losses and their gradients of some images, in float64."""
    config = data(root / 'photos', STEPS)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = box_caching.model_config(block, **LOSSES)
        model = tiny.build(model).double()
        model.teachers.at_step(2, 9)
        raw = box_caching.batch(box_caching.built(config)[0], order)
    done = model.data_preprocessor(raw, True)
    for sample in done['data_samples']:
        instances = sample.gt_instances
        instances.bboxes = instances.bboxes.double()
    losses = model.loss(done['inputs'].double(), done['data_samples'])
    trained = [p for p in model.parameters() if p.requires_grad]
    found = {}
    for key in LOSSES:
        parts = torch.autograd.grad(
            losses[key], trained, retain_graph=True, allow_unused=True
        )
        flat = [g.flatten() for g in parts if g is not None]
        found[key] = losses[key].detach(), torch.cat(flat)
    return found


def own_boxes(root, save=True):
    block = box_caching.teacher_block(root, save=save)
    del block['cache']
    return dict(block, boxes_per_step=8)


def on_rank(rank, world_size):
    root = [tempfile.mkdtemp() if rank == 0 else '']
    broadcast_object_list(root)
    root = Path(root[0])
    try:
        with DefaultScope.overwrite_default_scope('mmdet'):
            if rank == 0:
                box_caching.make_photos(root / 'photos')
                own_boxes(root)
            barrier()
        return gradients(own_boxes(root, save=False), root, [IMAGES[rank]])
    finally:
        barrier()
        if rank == 0:
            shutil.rmtree(root)


@pytest.fixture
def alone(tmp_path):
    box_caching.make_photos(tmp_path / 'photos')
    return gradients(own_boxes(tmp_path), tmp_path, IMAGES)


@pytest.mark.two_ranks(run=on_rank)
def test_two_ranks_learn_what_one_does(two_ranks, alone):
    for key, (loss, gradient) in alone.items():
        shares = torch.stack([found[key][0] for found in two_ranks])
        # proposals are decoded in float32
        torch.testing.assert_close(shares.mean(), loss, rtol=1e-5, atol=0)
        parts = torch.stack([found[key][1] for found in two_ranks])
        gap = (parts.mean(dim=0) - gradient).norm() / gradient.norm()
        assert gap < 1e-4 and gradient.norm() > 0, key
        apart = (parts[0] - parts[1]).norm() / gradient.norm()
        assert apart > 0.01, 'each rank has rows of its own'
