"""Write a detector's answers for boxes to disk, with all processes."""

from __future__ import annotations

import copy
import time
from contextlib import ExitStack

import numpy as np
import torch
from mmengine.dist import (
    broadcast_object_list,
    gather,
    get_rank,
    get_world_size,
    is_main_process,
)
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from luminet_mm.datasets.views import FlipViews, ViewError, check_views
from luminet_mm.launch.box_answers import Answerer
from luminet_mm.preflight import leaf_datasets
from luminet_mm.teachers.box_cache import make_box_header
from luminet_mm.teachers.box_layout import item_type
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cache_writer import CacheWriter
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
    plan: list = [None, '', 0]
    with ExitStack() as stack:
        writer = None
        if is_main_process():
            try:
                header = make_box_header(
                    block,
                    views,
                    answerer.columns,
                    answerer.boxes,
                    answerer.jittered,
                )
                writer = stack.enter_context(CacheWriter(folder, header))
                plan = [writer.missing(), '', header['entries']]
                if plan[0]:
                    writer.begin()
            except ValueError as error:
                plan[1] = str(error)
        broadcast_object_list(plan)
        if plan[1]:
            raise CacheError(plan[1])
        _write_files(runner, answerer, views, plan[0], plan[2], writer)


def _write_files(
    runner: Runner,
    answerer: Answerer,
    views: FlipViews,
    missing: list[int],
    entries: int,
    writer: CacheWriter | None,
) -> None:
    """Answer for the views of some files; the first process writes."""
    if writer and writer.damaged:
        runner.logger.warning(f'damaged files: {writer.damaged}')
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
    if writer:
        if counts[0]:
            share = round(100 * counts[1] / counts[0], 2)
            writer.header['top1'] = float(share)
        if missing or not writer.finished:
            writer.finish()
        runner.logger.info(writer.summary())


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
