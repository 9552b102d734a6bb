"""What a detector says of boxes in the views of training data."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch import Tensor

from luminet_mm.datasets.views import flip_of
from luminet_mm.hooks.distiller import distiller_of
from luminet_mm.signals.box_rows import (
    SIGNALS,
    as_rois,
    box_labels,
    check_one_head,
)
from luminet_mm.signals.roi_heads import bbox_heads
from luminet_mm.signals.roi_scoring import Outer, score_rois
from luminet_mm.teachers.box_choice import (
    boxes_of_sample,
    moved_objects,
    widened,
)
from luminet_mm.teachers.box_layout import (
    INSIDE,
    BoxAnswers,
    best_class,
    from_grid,
    pack,
    to_grid,
)
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cached_boxes import check_detector

OBJECT = 0.5  # IoU with an object from which a box counts as one of it


class Answerer:
    """One teacher's answers for boxes of the views of the training data.

    Args:
        runner: The distillation's, not yet training.
        index: Number of the teacher.
        boxes: Number of boxes of a view; by default as many as the student's
            sampler draws.
        jittered: How many of them are moved objects; by default the share of
            positives that it draws.

    Raises:
        CacheError: If student or teacher do not have a single box head.
    """

    def __init__(
        self,
        runner: Runner,
        index: int,
        boxes: int | None = None,
        jittered: int | None = None,
    ) -> None:
        model: Any = distiller_of(runner, 'tools/cache_teacher.py')
        check_detector('model.teacher', model)
        model.eval()
        self.model = model
        self.teacher: Any = model.teachers[index]
        self.network: Any = self.teacher.model
        try:
            check_one_head(self.network, self.teacher.whose)
        except ValueError as error:
            raise CacheError(f'model.teacher: {error}') from None
        if getattr(self.network, 'rpn_head', None) is None:
            raise CacheError(
                f'model.teacher: {type(self.network).__name__} does not have '
                'an rpn_head, and its proposals are cached. Take a teacher '
                'that has one, such as Faster R-CNN'
            )
        self.signals = [
            self.teacher.find(model.family, name) for name in SIGNALS
        ]
        sampler = getattr(model.roi_head, 'bbox_sampler', None)
        self.boxes = getattr(sampler, 'num', 512) if boxes is None else boxes
        self.jittered = (
            moved_objects(model, self.boxes) if jittered is None else jittered
        )
        if self.boxes < 1 or not 0 <= self.jittered <= self.boxes:
            raise CacheError(
                f'--boxes {self.boxes} and --jittered {self.jittered}: set a '
                'number of boxes from 1 up, of which at most all are jittered'
            )
        model.fit_teacher(index)
        self.columns = bbox_heads(self.network)[0].num_classes + 1

    def ask(self, item: dict) -> tuple[np.ndarray, int, int]:
        """Run the teacher on a view.

        One at a time: with others it would be padded to their size.

        Args:
            item: As the pipeline makes it.

        Returns:
            The entry, in bytes; how many boxes have an object, and on how
            many of these the teacher is right.

        Raises:
            CacheError: If an answer is not finite, or not of deltas.
        """
        data = self.model.data_preprocessor(pseudo_collate([item]), False)
        images, (sample,) = data['inputs'], data['data_samples']
        height, width = sample.img_shape[:2]
        whole = np.array([width, height] * 2, float)
        with torch.no_grad():
            with self.teacher.own_precision(images.device.type):
                seen = self.teacher.view(self.model, images, [sample])
                maps = self.network.extract_feat(seen)
                (found,) = self.network.rpn_head.predict(
                    maps, [sample], rescale=False
                )
            boxes = boxes_of_sample(
                found.bboxes,
                sample,
                self.boxes,
                self.jittered,
                _rng(sample),
            )
            # those of the file: both models score the very same
            corners = from_grid(to_grid(boxes / whole, INSIDE), INSIDE)
            pixels = images.new_tensor(corners * whole, dtype=torch.float32)
            scores, goals = self._score(maps, pixels, sample.img_id)
        around = widened(goals, -whole[:2] / 2, 1.5 * whole[:2])
        entry = pack(BoxAnswers(corners, scores, around / whole))
        labels = box_labels(
            pixels[None], [sample], OBJECT, self.columns - 1
        ).cpu()
        objects = (labels < self.columns - 1).numpy()
        right = scores.argmax(axis=1) == labels.numpy()
        return entry, int(objects.sum()), int((right & objects).sum())

    def _score(
        self, maps: Any, boxes: Tensor, name: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Logits ``(N, C)`` and the best class's boxes ``(N, 4)``."""
        head = bbox_heads(self.network)[0]
        weight = next(self.network.roi_head.parameters())
        outer = Outer({}, [x.to(weight.dtype).contiguous() for x in maps])
        rois = as_rois(boxes[None]).to(weight.dtype)
        scores, deltas = score_rois(
            self.network, outer, [(s, 0) for s in self.signals], {0: rois}
        )
        if not isinstance(deltas, Tensor) or deltas.shape[1] % 4:
            raise CacheError(
                f'model.teacher: {type(head).__name__} does not predict '
                'deltas of boxes, which are cached. Take a teacher with a '
                'stock box head'
            )
        if not bool(scores.isfinite().all() & deltas.isfinite().all()):
            raise CacheError(
                f'image {name}: the teacher says numbers that are not finite; '
                'it is broken'
            )
        logits = scores.float().cpu().numpy()
        deltas = deltas.unflatten(1, (-1, 4))
        if deltas.shape[1] > 1:
            best = best_class(logits)
            rows = torch.arange(len(deltas), device=deltas.device)
            deltas = deltas[rows, torch.from_numpy(best).to(deltas.device)]
        else:
            deltas = deltas[:, 0]
        goals = head.bbox_coder.decode(rois[:, 1:], deltas)
        return logits, goals.double().cpu().numpy()


def _rng(sample: Any) -> np.random.Generator:
    """Random numbers that depend on image and flip alone."""
    text = f'{sample.img_id} {flip_of(sample)}'
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], 'little'))
