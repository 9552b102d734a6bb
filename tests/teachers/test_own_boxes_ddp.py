"""Two ranks with an image each learn what one process learns of both."""

import shutil
import tempfile
from pathlib import Path

import box_caching
import pytest
import tiny
from box_caching import BOX, FLIP, KD, LUMINET, PACK, PIPELINE, data
from mmengine.dist import barrier, broadcast_object_list
from mmengine.registry import DefaultScope

import luminet_mm  # noqa: F401  (the ranks load this file by itself)

LOSSES = dict(loss_luminet=LUMINET, loss_kd=KD, loss_box=BOX)
STEPS = [*PIPELINE[:3], dict(FLIP, prob=1.0), PACK]
IMAGES = [1, 2]  # of one size: a batch of both has no padding


def found_in(block, root, order):
    """Losses and their gradients of some images."""
    config = data(root / 'photos', STEPS)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = tiny.build(box_caching.model_config(block, **LOSSES))
        raw = box_caching.batch(box_caching.built(config)[0], order)
    model.teachers.at_step(2, 9)
    return box_caching.gradients(model, raw)


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
        return found_in(own_boxes(root, save=False), root, [IMAGES[rank]])
    finally:
        barrier()
        if rank == 0:
            shutil.rmtree(root)


@pytest.fixture
def alone(tmp_path):
    box_caching.make_photos(tmp_path / 'photos')
    return found_in(own_boxes(tmp_path), tmp_path, IMAGES)


@pytest.mark.two_ranks(run=on_rank)
def test_two_ranks_learn_what_one_does(two_ranks, alone):
    # proposals are decoded in float32
    box_caching.assert_shared(two_ranks, alone, rtol=1e-5, bound=1e-4)
