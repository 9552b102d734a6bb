"""Write a classifier's logits of all views to disk, with all processes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from mmengine.dist import gather
from mmengine.runner import Runner
from torch import Tensor

from luminet_mm.datasets.replay import ReplayDataset
from luminet_mm.distillers.classifier import ClassifierDistiller
from luminet_mm.hooks.distiller import distiller_of
from luminet_mm.launch.shared_writer import SharedWriter, shared_writer
from luminet_mm.preflight.data import leaf_datasets
from luminet_mm.signals.family import Question
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cache_header import make_header
from luminet_mm.teachers.cached import check_student
from luminet_mm.teachers.entries import teacher_entries


class Views:
    """One teacher's answers for the views of the training data.

    Args:
        runner: The distillation's, not yet training.
        index: Number of the teacher.
    """

    def __init__(self, runner: Runner, index: int) -> None:
        model = distiller_of(runner, 'tools/cache_teacher.py')
        if not isinstance(model, ClassifierDistiller):
            raise CacheError(
                f'{type(model).__name__}: only classifiers and two-stage '
                'detectors have caches. Remove `cache`.'
            )
        check_student('model.teacher', model)
        model.eval()
        self.model = model
        self.index = index
        self.teacher = model.teachers[index]
        self.size: tuple[int, int] | None = None
        model.fit_teacher(index)
        signal = self.teacher.find(model.family, 'logits')
        self.questions = [Question([signal], [signal])]

    def ask(self, batch: dict) -> tuple[Tensor, Tensor, Tensor]:
        """Run the teacher on a batch's views.

        Returns:
            Their numbers ``(B,)``, logits ``(B, classes)``, and
            whether the teacher is right ``(B,)``: 1, 0, or -1 where there is
            no single label.

        Raises:
            CacheError: If images are padded to a batch's largest.
        """
        raw = [tuple(image.shape[-2:]) for image in batch['inputs']]
        data = self.model.data_preprocessor(batch, False)
        images, samples = data['inputs'], data['data_samples']
        sizes = {*raw, tuple(images.shape[-2:])}
        self.size = self.size or raw[0]
        if sizes != {self.size}:
            shown = ', '.join(f'{h}x{w}' for h, w in sorted(sizes))
            raise CacheError(
                f'the images have {shown} pixels and would be padded '
                'differently in each batch. Crop or resize them to one size.'
            )
        with torch.no_grad():
            ahead = self.teacher.begin(
                self.model, images, samples, self.questions
            ).wait()
            (logits,) = self.model.family.answer(
                self.teacher.model, ahead, self.questions, None
            )
        right = [
            guess == int(sample.gt_label)
            if 'gt_label' in sample and sample.gt_label.numel() == 1
            else -1
            for sample, guess in zip(samples, logits.argmax(1).tolist())
        ]
        views = [sample.view for sample in samples]
        return (
            torch.tensor(views, device=logits.device),
            logits.float(),
            torch.tensor(right, device=logits.device, dtype=torch.int8),
        )


def write_logits(runner: Runner, folder: str, index: int, dtype: str) -> None:
    """Write the missing part of one teacher's cache.

    Args:
        runner: The distillation's, not yet training; its training data are a
            :class:`~luminet_mm.datasets.replay.ReplayDataset`.
        folder: Of the cache.
        index: Number of the teacher.
        dtype: How logits are stored, see
            :class:`~luminet_mm.teachers.row_forms.RowForm`.

    Raises:
        CacheError: If the folder holds the cache of something else, or the
            data set has too few rounds.
    """
    cfg = runner.cfg
    loader = runner.build_dataloader(
        dict(
            {
                key: value
                for key, value in cfg.train_dataloader.items()
                if key not in ('batch_sampler', 'drop_last', 'sampler')
            },
            sampler=dict(type='luminet_mm.ReplaySampler', shuffle=False),
        )
    )
    dataset = loader.dataset
    assert isinstance(dataset, ReplayDataset)
    views = Views(runner, index)
    leaves = leaf_datasets(dataset)
    for leaf in leaves:
        views.teacher.check_names(
            (getattr(leaf, 'metainfo', None) or {}).get('classes') or ()
        )
    first = loader.collate_fn(dataset.__getitems__([0]))
    classes = views.ask(first)[1].shape[1]

    _, block = teacher_entries(cfg.model.teacher)[index]
    with shared_writer(
        runner.logger,
        folder,
        lambda: make_header(block, dataset, leaves, classes, dtype),
        lambda missing: _check_rounds(folder, missing, dataset.rounds),
    ) as shared:
        _write_rounds(runner, loader, views, shared)


def _write_rounds(
    runner: Runner, loader: Any, views: Views, shared: SharedWriter
) -> None:
    """Answer for the views of some rounds; the first process writes."""
    images, right, seen = len(loader.dataset), 0, 0
    writer = shared.writer
    for number in shared.missing:
        started = time.monotonic()
        # by image: the sampler repeats some of them
        marks = np.full(images, -1, np.int8)
        if writer:
            writer.open(number)
        loader.sampler.set_epoch(number)
        for batch in loader:
            # every process has the same number: the sampler rounds up
            gathered = [gather(each) for each in views.ask(batch)]
            if writer is None:
                continue
            for parts in zip(*gathered, strict=True):
                which, logits, hits = (part.cpu().numpy() for part in parts)
                writer.put(which % images, logits)
                marks[which % images] = hits
        right += int((marks == 1).sum())
        seen += int((marks >= 0).sum())
        if writer:
            writer.close(number)
        runner.logger.info(
            f'round {number + 1}, {len(shared.missing)} were missing; '
            f'{time.monotonic() - started:.1f} s'
        )
    shared.finish(runner.logger, right, seen)


def _check_rounds(folder: str, missing: list[int], rounds: int) -> None:
    """Refuse to write rounds that the data set does not have.

    Raises:
        CacheError: If one is missing that only more rounds could give.
    """
    if missing and missing[-1] >= rounds:
        raise CacheError(
            f'{folder}: round {missing[-1] + 1} is missing and '
            f'train_dataloader.dataset.rounds is {rounds}. Set it to '
            f'{missing[-1] + 1} or more to continue, or delete the folder.'
        )
