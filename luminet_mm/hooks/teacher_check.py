"""TeacherCheckHook: check a teacher before training."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook

from luminet_mm.distillers.blocks import compares_classes
from luminet_mm.hooks.distiller import distiller_of
from luminet_mm.hooks.teacher_score import TeacherScore, class_count
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.preflight import check_annotations, leaf_datasets
from luminet_mm.registry import HOOKS
from luminet_mm.runs import metrics
from luminet_mm.runs.changes import same_teacher
from luminet_mm.teachers.base import Teacher


@HOOKS.register_module()
class TeacherCheckHook(Hook):
    """Compare class names, and score the teacher on the validation set.

    A teacher that does not work on this data (wrong preprocessing, different
    classes, random weights) costs a whole run; scoring it costs one
    evaluation. A resumed run repeats this only with another teacher, or other
    arguments of this hook. COCO annotation files that lack a class, or have
    another order, are refused as well, and so are cached logits
    (:mod:`luminet_mm.teachers.cache`) for other data or another augmentation.

    Class names are compared if a loss compares class by class. A teacher whose
    features alone are used may have other classes; it is then not scored.
    Evaluators that need predictions which the teacher does not make are left
    out.

    Args:
        evaluate: Score the teacher. False compares class names only.
        metric: Name of the metric that ``min_metric`` bounds,
            with or without its prefix (``'bbox_mAP'``). By default the main
            one: ``coco/bbox_mAP``, ``accuracy/top1``, or else the first that
            is reported.
        min_metric: Stop the run if the teacher scores less.
            In the metric's own unit: COCO's are fractions of 1, MMPretrain's
            accuracies are in percent.

    Raises:
        ValueError: If an argument is wrong, the model is not a distiller, the
            classes differ, the metric is unknown, or the teacher scores less
            than ``min_metric``.

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
        _check_arguments(evaluate, metric, min_metric)
        self.evaluate = evaluate
        self.metric = metric
        self.min_metric = min_metric
        self._scored = False
        self._seed = 0  # the run's, once that begins

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._scored = same_teacher(checkpoint.get('meta') or {}, runner.cfg)

    def before_train(self, runner) -> None:
        model = distiller_of(runner, 'TeacherCheckHook')
        # with `diff_rank_seed` each rank has its own: what teachers draw may
        # not depend on the rank
        seed = [runner.seed]
        broadcast_object_list(seed)
        self._seed = seed[0]
        data = runner.train_dataloader.dataset
        datasets = leaf_datasets(data)
        foreign = {}
        for i, teacher in enumerate(model.teachers):
            teacher.check_data(data, datasets)
            if teacher.model is not None:
                foreign[i] = self._compare_classes(runner, model, i, datasets)
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
        score = TeacherScore(runner.val_loop.evaluator)
        self._check_metric(score)
        device = next(model.parameters()).device
        for i, teacher in enumerate(model.teachers):
            if teacher.model is None:
                self._say_cached(runner, teacher)
            elif foreign[i]:
                self._cannot(runner, teacher, foreign[i])
            else:
                self._score(runner, teacher, device)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        model = distiller_of(runner, 'TeacherCheckHook')
        model.teachers.at_step(self._seed, runner.iter)

    def _compare_classes(self, runner, model, index: int, datasets) -> str:
        """Compare the classes; return an allowed difference as text."""
        teacher = model.teachers[index]
        ours, theirs = class_count(model), class_count(teacher.model)
        if _needs_same_classes(model, index):
            for dataset in datasets:
                teacher.check_names(_classes_of(dataset))
            if not teacher.classes or not any(map(_classes_of, datasets)):
                runner.logger.warning(
                    'TeacherCheckHook: class names were not compared: %s '
                    'does not name them.',
                    'the training data' if teacher.classes else 'the teacher',
                )
        else:
            for classes in filter(None, map(_classes_of, datasets)):
                if teacher.classes and list(teacher.classes) != list(classes):
                    return 'its classes differ from those of the data'
        if not getattr(teacher.model, 'predicts', True):
            return 'it is a backbone alone, which predicts nothing'
        if teacher.class_map is not None:
            return 'its classes are mapped to those of the data'
        if None not in (ours, theirs) and ours != theirs:
            return f'it has {theirs} classes and the student {ours}'
        return ''

    def _check_metric(self, score: TeacherScore) -> None:
        """Refuse a metric that is not reported, before anything is scored."""
        names = score.names()
        if self.min_metric is None or not names:
            return
        self._bound_name(names)

    def _bound_name(self, names) -> str:
        try:
            name = metrics.choose(list(names), self.metric)
        except ValueError as error:
            raise ValueError(
                f'TeacherCheckHook.metric: the evaluator reports {error}'
            ) from None
        bound: Any = self.min_metric
        problem = metrics.bound_problem(name, bound)
        if problem:
            raise ValueError(f'TeacherCheckHook.min_metric is {problem}.')
        return name

    def _say_cached(self, runner, teacher: Teacher) -> None:
        runner.logger.info(
            'teacher (%s) on its %s: accuracy/top1 %s. '
            'It is not scored here, since its model is not built.',
            teacher.name,
            teacher.seen,
            teacher.top1,
        )
        if self.min_metric is not None:
            runner.logger.warning(
                'TeacherCheckHook.min_metric: not compared, since a '
                'cached teacher is not scored on the validation set.'
            )

    def _cannot(self, runner, teacher, why: str) -> None:
        """Continue without a score, if none was asked for."""
        if self.min_metric is not None:
            raise ValueError(
                f'TeacherCheckHook.min_metric: the teacher ({teacher.name}) '
                f'cannot be scored on the validation set: {why}. Remove '
                'min_metric, or set evaluate=False without it.'
            )
        runner.logger.warning(
            'TeacherCheckHook: the teacher (%s) is not scored: %s.',
            teacher.name,
            why,
        )

    def _score(self, runner, teacher, device) -> None:
        loop = runner.val_loop
        # .to() also tells the teacher's own preprocessor where to put images
        teacher.model.to(device)
        score = TeacherScore(loop.evaluator)
        scores = score.run(loop, teacher.model)
        # A loader with persistent workers draws once, when it first starts
        # them: leave that to the first validation, as without this hook.
        loop.dataloader._iterator = None
        if not score.evaluator.metrics:
            self._cannot(runner, teacher, '; '.join(score.left_out))
            return
        for line in score.left_out:
            runner.logger.warning(
                'TeacherCheckHook: teacher (%s): %s', teacher.name, line
            )
        runner.logger.info(
            'teacher (%s) on the validation set: %s',
            teacher.name,
            ', '.join(f'{key} {value:.4f}' for key, value in scores.items()),
        )
        self._bound(scores, score.left_out)

    def _bound(self, scores: dict, left_out: list[str]) -> None:
        if self.min_metric is None:
            return
        if not scores:
            # what COCO metrics report if there are no detections
            raise ValueError(
                'the teacher found nothing on the validation set. Check its '
                'checkpoint, its data_preprocessor (mean, std, channel order) '
                'and its classes.'
            )
        try:
            name = self._bound_name(scores)
        except ValueError as error:
            raise ValueError(' '.join([str(error), *left_out])) from None
        if not scores[name] >= self.min_metric:
            raise ValueError(
                f'the teacher scores {name} = {scores[name]:.4f} on the '
                f'validation set, less than min_metric={self.min_metric}. '
                'Check its checkpoint, its data_preprocessor (mean, std, '
                'channel order) and its classes, or lower min_metric.'
            )


def _check_arguments(evaluate: Any, metric: Any, min_metric: Any) -> None:
    """Refuse invalid arguments when the hook is built.

    Raises:
        ValueError: If an argument is wrong.
    """
    problem = ''
    if not isinstance(evaluate, bool):
        problem = f'evaluate is {evaluate!r}; set True or False'
    elif metric is not None and (not isinstance(metric, str) or not metric):
        problem = f"metric is {metric!r}; name one, such as 'bbox_mAP'"
    elif min_metric is not None:
        if (
            not isinstance(min_metric, Real)
            or isinstance(min_metric, bool)
            or not math.isfinite(min_metric)
        ):
            problem = f'min_metric is {min_metric!r}; set a number'
        elif not evaluate:
            problem = (
                'min_metric has no effect with evaluate=False, which scores '
                'nothing; remove one of the two'
            )
        else:
            problem = metrics.bound_problem(metric or '', float(min_metric))
            problem = problem and f'min_metric is {problem}'
    if problem:
        raise ValueError(f'TeacherCheckHook: {problem}.')


def _needs_same_classes(model, index: int) -> bool:
    """Whether a loss, or the student's head, needs the teacher's classes."""
    if isinstance(getattr(model, 'head', None), ReusedClsHead):
        return True
    return any(
        compares_classes(model.distill[key], *comparison.names)
        for key, comparison in model.comparisons.items()
        if index in comparison.teachers
    )


def _classes_of(dataset) -> tuple[str, ...]:
    metainfo = getattr(dataset, 'metainfo', None) or {}
    return tuple(metainfo.get('classes') or ())
