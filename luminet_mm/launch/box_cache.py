"""Write a detector's answers for boxes to disk, with all processes."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch
from mmengine.dist import gather, get_rank, get_world_size
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from luminet_mm.datasets.views import FlipViews, ViewError, check_views
from luminet_mm.launch.box_answers import Answerer
from luminet_mm.launch.shared_writer import SharedWriter, shared_writer
from luminet_mm.preflight import leaf_datasets
from luminet_mm.teachers.box_cache import make_box_header
from luminet_mm.teachers.box_layout import item_type
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.entries import teacher_entries


def write_boxes(
    runner: Runner,
    folder: str,
    index: int,
    boxes: int | None = None,
    jittered: int | None = None,
) -> None:
    """Write the missing part of one teacher's cache, with all processes.

    Args:
        runner: The distillation's, not yet training.
        folder: Where to.
        index: Number of the teacher.
        boxes: See :class:`Answerer`.
        jittered: See there.

    Raises:
        CacheError: If the data have views that cannot be cached, or the
            folder holds the cache of something else.
    """
    answerer = Answerer(runner, index, boxes, jittered)
    cfg = runner.cfg
    dataset = DATASETS.build(copy.deepcopy(cfg.train_dataloader.dataset))
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    leaves = leaf_datasets(dataset)
    try:
        check_views(dataset, leaves)
        views = FlipViews(leaves)
    except ViewError as error:
        raise CacheError(f'train_dataloader.dataset: {error}.') from None
    for leaf in leaves:
        answerer.teacher.check_names(
            (getattr(leaf, 'metainfo', None) or {}).get('classes') or ()
        )
    _, block = teacher_entries(cfg.model.teacher)[index]
    with shared_writer(
        runner.logger,
        folder,
        lambda: make_box_header(
            block, views, answerer.columns, answerer.boxes, answerer.jittered
        ),
    ) as shared:
        _write_files(runner, answerer, views, shared)


def _write_files(
    runner: Runner, answerer: Answerer, views: FlipViews, shared: SharedWriter
) -> None:
    """Answer for the views of some files; the first process writes."""
    missing, entries, writer = shared.missing, shared.entries, shared.writer
    assert entries is not None
    counts = np.zeros(2, int)
    for place, number in enumerate(missing, 1):
        started = time.monotonic()
        rows = writer.open(number) if writer else None
        first = number * entries
        last = min(first + entries, len(views))
        counts += _fill(runner, answerer, views, range(first, last), rows)
        if writer:
            writer.close(number)
        runner.logger.info(
            f'file {place} of {len(missing)}, {last - first} views; '
            f'{time.monotonic() - started:.1f} s'
        )
    seen, right = counts.tolist()
    shared.finish(runner.logger, right, seen)


def _fill(
    runner: Runner,
    answerer: Answerer,
    views: FlipViews,
    items: range,
    rows: np.ndarray | None,
) -> np.ndarray:
    """Answer for some views, shared out among all processes.

    Returns:
        How many boxes have an object, and are right: in the first process.
    """
    world, rank = get_world_size(), get_rank()
    device = next(answerer.model.parameters()).device
    own = list(items[rank::world])
    loader = iter(
        DataLoader(
            views,
            sampler=own,
            batch_size=None,
            num_workers=runner.cfg.train_dataloader.get('num_workers', 0),
        )
    )
    size = item_type(answerer.boxes, answerer.columns).itemsize
    counts = np.zeros(2, int)
    for turn in range(-(-len(items) // world)):
        entry, objects, right = np.zeros(size, np.uint8), 0, 0
        if turn < len(own):
            entry, objects, right = answerer.ask(next(loader))
        # every process takes part in each turn
        gathered = gather(torch.tensor(entry, device=device))
        totals = gather(torch.tensor([objects, right], device=device))
        if rows is None:
            continue
        for each, (one, numbers) in enumerate(
            zip(gathered, totals, strict=True)
        ):
            if turn * world + each < len(items):
                rows[turn * world + each] = one.cpu().numpy()
                counts += numbers.cpu().numpy()
    return counts
