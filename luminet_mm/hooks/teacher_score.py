"""Score a teacher with the metrics that its predictions allow."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import DumpResults, Evaluator

from luminet_mm.rng import preserved_rng
from luminet_mm.runs import metrics

# The predictions that an evaluator of MMDetection requires.
NEEDS = dict(
    CityScapesMetric='masks',
    CocoOccludedSeparatedMetric='masks',
    CocoPanopticMetric='pred_panoptic_seg',
    SemSegMetric='pred_sem_seg',
)
WORDS = dict(
    masks='masks',
    pred_panoptic_seg='a panoptic segmentation',
    pred_sem_seg='a semantic segmentation',
)


class TeacherScore:
    """An evaluator for a teacher, separate from the student's.

    The student's may need more than the teacher predicts, such as masks from a
    Faster R-CNN. Metrics that only write files (``format_only``) have nothing
    to score, and files of that name belong to the student.

    Args:
        evaluator: The student's; it is not changed.

    Attributes:
        left_out: Why something is not scored.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.left_out: list[str] = []
        self.evaluator = copy.copy(evaluator)
        kept = []
        for metric in evaluator.metrics:
            name = type(metric).__name__
            if isinstance(metric, DumpResults):
                continue
            if getattr(metric, 'format_only', False):
                self.left_out.append(
                    f'{name} has format_only=True: it writes files and '
                    'scores nothing'
                )
                continue
            metric = copy.copy(metric)
            metric.results = []
            if getattr(metric, 'outfile_prefix', None) is not None:
                metric.outfile_prefix = None
            kept.append(metric)
        self.evaluator.metrics = kept
        self._narrowed = False

    def names(self) -> list[str] | None:
        """What will be reported, or None if that is not known yet."""
        found: list[str] = []
        for metric in self.evaluator.metrics:
            names = metrics.reported(metric)
            if names is None:
                return None
            found += names
        return found

    def run(self, loop: Any, model: Any) -> dict:
        """Predict the validation set and score it.

        Args:
            loop: The student's.
            model: The teacher.

        Returns:
            Metrics by name, without those it has no predictions for.

        Raises:
            ValueError: If an evaluator cannot handle its predictions.
        """
        if not self.evaluator.metrics:
            return {}
        # a data loader draws its base seed from the global generator
        with preserved_rng(), torch.no_grad():
            for batch in loop.dataloader:
                outputs = model.val_step(batch)
                if not self._narrowed:
                    self._narrow(outputs)
                self._try(self.evaluator.process, outputs, batch)
            if not self.evaluator.metrics:
                return {}
            return self._try(
                self.evaluator.evaluate, len(loop.dataloader.dataset)
            )

    def _narrow(self, outputs: Sequence) -> None:
        """Leave out metrics that need what the first predictions lack."""
        self._narrowed = True
        there = _predicted(outputs)
        kept = []
        for metric in self.evaluator.metrics:
            name = type(metric).__name__
            needs = NEEDS.get(name)
            kinds = getattr(metric, 'metrics', None)
            if isinstance(kinds, list) and 'segm' in kinds:
                needs = 'masks'
                rest = [kind for kind in kinds if kind != 'segm']
                if rest and 'masks' not in there:
                    metric.metrics, needs = rest, None
                    self.left_out.append(
                        f'it does not predict masks, so {name} scores '
                        f'only {", ".join(rest)}'
                    )
            if needs and needs not in there:
                self.left_out.append(
                    f'it does not predict {WORDS[needs]}, which {name} scores'
                )
                continue
            kept.append(metric)
        self.evaluator.metrics = kept

    @staticmethod
    def _try(step: Any, *args: Any) -> Any:
        try:
            return step(*args)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(
                'TeacherCheckHook: the evaluator cannot score the teacher '
                f'({type(error).__name__}: {error}). Its predictions are of '
                'another kind than the student predicts; set evaluate=False.'
            ) from error


def _predicted(outputs: Sequence) -> set[str]:
    """Names of the predictions' fields, including those of instances."""
    found: set[str] = set()
    for sample in outputs:
        keys = sample.keys() if hasattr(sample, 'keys') else ()
        found.update(keys)
        instances = sample.get('pred_instances') if keys else None
        if instances is not None:
            found.update(instances.keys())
    return found


def class_count(model: torch.nn.Module) -> int | None:
    """A head's number of classes, or None if it is not stated."""
    roi_head = getattr(model, 'roi_head', None)
    for owner, name in (
        (roi_head, 'bbox_head'),
        (model, 'bbox_head'),
        (model, 'head'),
    ):
        head = getattr(owner, name, None)
        if isinstance(head, torch.nn.ModuleList) and len(head):
            head = head[0]
        count = getattr(head, 'num_classes', None)
        if isinstance(count, int):
            return count
    return None
