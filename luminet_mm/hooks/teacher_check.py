"""TeacherCheckHook: what can go wrong with a teacher, before the first step.
"""
from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from luminet_mm.registry import HOOKS
from luminet_mm.teacher import preserved_rng


@HOOKS.register_module()
class TeacherCheckHook(Hook):
    """Compare class names, and score the teacher on the validation set.

    A teacher that does not work on this data (wrong preprocessing, other
    classes, random weights) costs a whole run; its score costs one
    evaluation. A resumed run was scored when it started and is not again.

    Args:
        evaluate (bool): Score the teacher. False compares class names only.
        metric (str | None): Name of the metric that ``min_metric`` bounds;
            needed only when the evaluator reports several.
        min_metric (float | None): Stop the run when the teacher scores less.

    Raises:
        ValueError: If the classes differ, the metric is unknown, or the
            teacher scores less than ``min_metric``.

    Examples:
        >>> custom_hooks = [dict(
        ...     type='luminet_mm.TeacherCheckHook',
        ...     metric='coco/bbox_mAP', min_metric=0.35)]
    """

    # before hooks of normal priority, such as EMA, start their work
    priority = 'VERY_HIGH'

    def __init__(self,
                 evaluate: bool = True,
                 metric: str | None = None,
                 min_metric: float | None = None) -> None:
        self.evaluate = evaluate
        self.metric = metric
        self.min_metric = min_metric

    def before_train(self, runner) -> None:
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        teacher = model.teacher
        dataset = runner.train_dataloader.dataset
        teacher.check_classes(dataset.metainfo.get('classes') or ())
        if not self.evaluate or runner.iter > 0:
            return
        if runner.val_loop is None:
            if self.min_metric is None:
                runner.logger.warning(
                    'TeacherCheckHook: no val_dataloader, so the teacher is '
                    'not scored.')
                return
            raise ValueError(
                'TeacherCheckHook.min_metric needs val_dataloader, val_cfg '
                'and val_evaluator to score the teacher with.')
        scores = self._score(runner, teacher, next(model.parameters()).device)
        runner.logger.info('teacher (%s) on the validation set: %s',
                           teacher.name, ', '.join(
                               f'{key} {value:.4f}'
                               for key, value in scores.items()))
        self._bound(scores)

    def _score(self, runner, teacher, device) -> dict:
        loop = runner.val_loop
        # .to() also tells the teacher's own preprocessor where to put images
        teacher.model.to(device)
        # a data loader draws its base seed from the global generator
        with preserved_rng(), torch.no_grad():
            for data_batch in loop.dataloader:
                outputs = teacher.model.val_step(data_batch)
                loop.evaluator.process(
                    data_samples=outputs, data_batch=data_batch)
            return loop.evaluator.evaluate(len(loop.dataloader.dataset))

    def _bound(self, scores: dict) -> None:
        if self.min_metric is None:
            return
        name = self.metric
        if name is None and len(scores) == 1:
            name = next(iter(scores))
        if name not in scores:
            raise ValueError(
                f'TeacherCheckHook.metric={self.metric!r}: the evaluator '
                f'reports {", ".join(scores)}. Name one of them.')
        if not scores[name] >= self.min_metric:
            raise ValueError(
                f'the teacher scores {name} = {scores[name]:.4f} on the '
                f'validation set, less than min_metric={self.min_metric}. '
                'Check its checkpoint, its data_preprocessor (mean, std, '
                'channel order) and its classes, or lower min_metric.')
