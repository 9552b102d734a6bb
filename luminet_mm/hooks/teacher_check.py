"""TeacherCheckHook: what can go wrong with a teacher, before training."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook

from luminet_mm.distillers.mixin import distiller_of
from luminet_mm.preflight import check_annotations, leaf_datasets
from luminet_mm.registry import HOOKS
from luminet_mm.runs.changes import same_teacher
from luminet_mm.teacher import preserved_rng
from luminet_mm.teacher_cache import CachedTeacher


@HOOKS.register_module()
class TeacherCheckHook(Hook):
    """Compare class names, and score the teacher on the validation set.

    A teacher that does not work on this data (wrong preprocessing, other
    classes, random weights) costs a whole run; its score costs one
    evaluation. A resumed run was scored when it started and is again only
    with another teacher, or other arguments of this hook.
    COCO annotation files that lack a class, or order them otherwise, are
    refused as well, and so are cached logits
    (:mod:`luminet_mm.teacher_cache`) of other data or another augmentation.

    Args:
        evaluate (bool): Score the teacher. False compares class names only.
        metric (str | None): Name of the metric that ``min_metric`` bounds;
            needed only when the evaluator reports several.
        min_metric (float | None): Stop the run when the teacher scores less.

    Raises:
        ValueError: If the model is no distiller, the classes differ, the
            metric is unknown, or the teacher scores less than ``min_metric``.

    Examples:
        >>> custom_hooks = [dict(
        ...     type='luminet_mm.TeacherCheckHook',
        ...     metric='coco/bbox_mAP', min_metric=0.35)]
    """

    # before hooks of normal priority, such as EMA, start their work
    priority = 'VERY_HIGH'

    def __init__(
        self,
        evaluate: bool = True,
        metric: str | None = None,
        min_metric: float | None = None,
    ) -> None:
        self.evaluate = evaluate
        self.metric = metric
        self.min_metric = min_metric
        self._scored = False

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        text = (checkpoint.get('meta') or {}).get('cfg') or ''
        self._scored = same_teacher(text, runner.cfg)

    def before_train(self, runner) -> None:
        model = distiller_of(runner, 'TeacherCheckHook')
        data = runner.train_dataloader.dataset
        datasets = leaf_datasets(data)
        for teacher in model.teachers:
            if isinstance(teacher, CachedTeacher):
                teacher.check_data(data, datasets)
                continue
            for dataset in datasets:
                teacher.check_classes(_classes_of(dataset))
            if not teacher.classes or not any(map(_classes_of, datasets)):
                runner.logger.warning(
                    'TeacherCheckHook: class names were not compared: %s '
                    'does not say them.',
                    'the training data' if teacher.classes else 'the teacher',
                )
        if runner.val_loop is not None:
            datasets += leaf_datasets(runner.val_loop.dataloader.dataset)
        check_annotations(datasets)
        if not self.evaluate or (runner.iter > 0 and self._scored):
            return
        if runner.val_loop is None:
            if self.min_metric is None:
                runner.logger.warning(
                    'TeacherCheckHook: no val_dataloader, so the teacher is '
                    'not scored.'
                )
                return
            raise ValueError(
                'TeacherCheckHook.min_metric needs val_dataloader, val_cfg '
                'and val_evaluator to score the teacher with.'
            )
        device = next(model.parameters()).device
        for teacher in model.teachers:
            if isinstance(teacher, CachedTeacher):
                runner.logger.info(
                    'teacher (%s) on its training views: accuracy/top1 %s. '
                    'It is not scored here, since its model is not built.',
                    teacher.name,
                    teacher.cache.header.get('top1'),
                )
                if self.min_metric is not None:
                    runner.logger.warning(
                        'TeacherCheckHook.min_metric: not compared, since a '
                        'cached teacher has no score on the validation set.'
                    )
                continue
            scores = self._score(runner, teacher, device)
            runner.logger.info(
                'teacher (%s) on the validation set: %s',
                teacher.name,
                ', '.join(
                    f'{key} {score:.4f}' for key, score in scores.items()
                ),
            )
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
                    data_samples=outputs, data_batch=data_batch
                )
            scores = loop.evaluator.evaluate(len(loop.dataloader.dataset))
        # One with persistent workers draws once, when it first starts them:
        # let that be in the first validation, as it is without this hook.
        loop.dataloader._iterator = None
        return scores

    def _bound(self, scores: dict) -> None:
        if self.min_metric is None:
            return
        name = self.metric
        if name is None and len(scores) == 1:
            name = next(iter(scores))
        if not scores:
            # what COCO metrics report when there is no detection at all
            raise ValueError(
                'the teacher found nothing on the validation set. Check its '
                'checkpoint, its data_preprocessor (mean, std, channel order) '
                'and its classes.'
            )
        if name not in scores:
            raise ValueError(
                f'TeacherCheckHook.metric={self.metric!r}: the evaluator '
                f'reports {", ".join(scores)}. Name one of them.'
            )
        if not scores[name] >= self.min_metric:
            raise ValueError(
                f'the teacher scores {name} = {scores[name]:.4f} on the '
                f'validation set, less than min_metric={self.min_metric}. '
                'Check its checkpoint, its data_preprocessor (mean, std, '
                'channel order) and its classes, or lower min_metric.'
            )


def _classes_of(dataset) -> tuple[str, ...]:
    metainfo = getattr(dataset, 'metainfo', None) or {}
    return tuple(metainfo.get('classes') or ())
