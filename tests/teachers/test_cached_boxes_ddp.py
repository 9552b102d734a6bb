"""Two ranks with an image each: one cache, and the gradient of one process."""

import shutil
import tempfile
from pathlib import Path

import box_caching
import pytest
from box_caching import BOX, FLIP, KD, LUMINET, PACK, PIPELINE, data
from mmengine.dist import barrier, broadcast_object_list
from mmengine.registry import DefaultScope

import luminet_mm  # noqa: F401  (the ranks load this file by itself)

LOSSES = dict(loss_luminet=LUMINET, loss_kd=KD, loss_box=BOX)
STEPS = [*PIPELINE[:3], dict(FLIP, prob=1.0), PACK]


def found_in(block, config, order):
    """Losses and their gradients of some images."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = box_caching.ready(block, config, **LOSSES)
        raw = box_caching.batch(box_caching.built(config)[0], order)
    model.teacher.at_step(2, 9)
    return box_caching.gradients(model, raw)


def on_rank(rank, world_size):
    root = [tempfile.mkdtemp() if rank == 0 else '']
    broadcast_object_list(root)
    root = Path(root[0])
    try:
        with DefaultScope.overwrite_default_scope('mmdet'):
            if rank == 0:
                box_caching.make_photos(root / 'photos')
                box_caching.teacher_block(root)
            barrier()
            block = box_caching.teacher_block(root, save=False)
            config = data(root / 'photos', STEPS)
            box_caching.write(block, config)
            barrier()
        entries = Path(block['cache'], 'round_000.npy').read_bytes()
        return (
            found_in(block, config, [rank]),
            found_in(dict(block, boxes_per_step=5), config, [rank]),
            entries,
        )
    finally:
        barrier()
        if rank == 0:
            shutil.rmtree(root)


@pytest.fixture
def alone(tmp_path):
    box_caching.make_photos(tmp_path / 'photos')
    block = box_caching.teacher_block(tmp_path)
    config = data(tmp_path / 'photos', STEPS)
    box_caching.write(block, config)
    entries = Path(block['cache'], 'round_000.npy').read_bytes()
    return (
        found_in(block, config, [0, 1]),
        found_in(dict(block, boxes_per_step=5), config, [0, 1]),
        entries,
    )


@pytest.mark.two_ranks(run=on_rank)
def test_two_ranks_write_and_learn_what_one_does(two_ranks, alone):
    *each, entries = alone  # of all boxes, and of a part
    for way, expected in enumerate(each):
        found = [rank[way] for rank in two_ranks]
        box_caching.assert_shared(found, expected, rtol=1e-9, bound=1e-9)
    losses = {loss.item() for ways in each for loss, _ in ways.values()}
    assert len(losses) == 2 * len(LOSSES)
    assert {found[-1] for found in two_ranks} == {entries}
