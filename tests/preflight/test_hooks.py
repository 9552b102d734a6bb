"""Hooks are checked with the config: names, arguments, what they bound."""

import copy

import pytest
import tiny
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from mmengine.hooks import Hook

from luminet_mm.hooks import DistillScheduleHook, TeacherCheckHook
from luminet_mm.preflight.hooks import OF_DISTILLATION, hook_problems

CHECK = dict(type='luminet_mm.TeacherCheckHook')
SCHEDULE = dict(type='luminet_mm.DistillScheduleHook')


@pytest.fixture(scope='module')
def model():
    return tiny.distiller()


@pytest.fixture
def lines(model):
    def check(*hooks, **changes):
        cfg = dict(
            model=copy.deepcopy(model),
            default_scope='mmdet',
            train_dataloader=dict(),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            val_dataloader=dict(),
            val_evaluator=dict(type='CocoMetric', metric='bbox'),
            custom_hooks=list(hooks),
        )
        return hook_problems(Config({**cfg, **changes}))

    return check


def test_what_is_right_passes(lines):
    assert not lines(
        dict(CHECK, min_metric=0.35),
        dict(CHECK, min_metric=0.35, metric='bbox_mAP_50'),
        dict(CHECK, evaluate=False, priority='LOW'),
        dict(type=TeacherCheckHook, min_metric=0.3),
        dict(type=DistillScheduleHook, loss_luminet=dict(warmup=5)),
        dict(type='EMAHook', momentum=0.1),
        TeacherCheckHook(),
        default_hooks=dict(timer=dict(type='IterTimerHook'), logger=None),
    )


@pytest.mark.parametrize(
    'hook, message',
    [
        (5, 'custom_hooks.0: 5 is not a block dict(type=...)'),
        (dict(warmup=5), 'custom_hooks.0.type: missing; name a hook'),
        (
            dict(type='luminet_mm.TeacherCheckHok'),
            "did you mean 'luminet_mm.TeacherCheckHook'?",
        ),
        (
            dict(type='DistillScheduleHook'),
            "did you mean 'luminet_mm.DistillScheduleHook'?",
        ),
        (dict(type='EMAhook'), "did you mean 'EMAHook'?"),
        (
            dict(CHECK, minmetric=0.3),
            "TeacherCheckHook has no option 'minmetric'; did you mean "
            "'min_metric'? It has evaluate, metric, min_metric",
        ),
        (
            dict(type=TeacherCheckHook, minmetric=0.3),
            "did you mean 'min_metric'?",
        ),
        (dict(type='IterTimerHook', interval=5), "has no option 'interval'"),
        (dict(CHECK, priority='HIGHER'), '.priority: '),
        (dict(CHECK, evaluate=False, min_metric=0.3), 'has no effect'),
        (dict(CHECK, evaluate='no'), "evaluate is 'no'; set True or False"),
        (dict(CHECK, min_metric='0.3'), "min_metric is '0.3'; set a number"),
        (dict(CHECK, min_metric=float('nan')), 'min_metric is nan'),
        (dict(CHECK, min_metric=True), 'min_metric is True'),
        (dict(CHECK, metric=5), 'metric is 5; name one'),
        (
            dict(CHECK, min_metric=35),
            'min_metric is 35; coco/bbox_mAP is a fraction of 1; write 0.35',
        ),
        (
            dict(CHECK, min_metric=0.3, metric='bbox_map'),
            "did you mean 'coco/bbox_mAP'?",
        ),
        (dict(CHECK, min_metric=30, metric='segm_mAP'), 'write 0.3'),
        (
            dict(CHECK, min_metric=0.3, metric='coco/segm_mAP'),
            "val_evaluator reports no metric 'coco/segm_mAP'",
        ),
        (
            dict(SCHEDULE, loss_lumient=dict(warmup=5)),
            'model.distill has no such loss; did you mean '
            "'loss_luminet'? It has loss_luminet.",
        ),
        (dict(SCHEDULE, loss_luminet=5), 'write loss_luminet=dict(warmup='),
        (
            dict(SCHEDULE, loss_luminet=dict(warm_up=5)),
            "'warm_up' is not known; did you mean 'warmup'? A schedule has "
            'warmup, decay, stop, unit, part, shape.',
        ),
        (dict(SCHEDULE, loss_luminet=dict(warmup='5')), 'not a whole number'),
        (dict(SCHEDULE, loss_luminet=dict(warmup=None)), 'not a whole number'),
        (dict(SCHEDULE, loss_luminet=dict(stop=2.5)), 'not a whole number'),
        (dict(SCHEDULE, loss_luminet=dict(unit=5)), "not 'iter' or 'epoch'"),
        (dict(SCHEDULE, loss_luminet=dict(part='x')), 'has no parts'),
    ],
)
def test_a_fault_is_one_line_that_names_the_hook(lines, hook, message):
    (line,) = lines(hook)
    assert line.startswith('custom_hooks.0') and message in line


def test_epochs_of_a_loop_without_any(lines):
    hook = dict(SCHEDULE, loss_luminet=dict(warmup=5, unit='epoch'))
    assert not lines(hook)
    for loop in (
        dict(type='IterBasedTrainLoop', max_iters=5),
        dict(by_epoch=False, max_iters=5),
    ):
        (line,) = lines(hook, train_cfg=loop)
        assert 'the epoch stays 0' in line


def test_nothing_to_score_with(lines):
    hook = dict(CHECK, min_metric=0.3)
    (line,) = lines(hook, val_evaluator=None)
    assert 'needs val_dataloader' in line
    formats = dict(type='CocoMetric', format_only=True, outfile_prefix='x')
    (line,) = lines(hook, val_evaluator=formats)
    assert 'format_only=True, which writes files and scores nothing' in line
    assert not lines(hook, val_evaluator=dict(type='mmengine.CountMetric'))


def test_accuracies_are_in_percent(lines):
    accuracy = dict(type='mmpretrain.Accuracy', topk=(1, 5))
    (line,) = lines(dict(CHECK, min_metric=0.7), val_evaluator=[accuracy])
    assert 'accuracy/top1 is in percent; write 70' in line
    assert not lines(dict(CHECK, min_metric=70), val_evaluator=[accuracy])


@pytest.mark.parametrize('name', OF_DISTILLATION)
def test_hooks_of_distillation_in_a_stock_run(lines, name):
    stock = tiny.detector()
    (line,) = lines(dict(type=f'luminet_mm.{name}'), model=stock)
    assert "model.type 'FasterRCNN' does not distil; remove it" in line


def test_default_hooks(lines):
    (line,) = lines(
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', intervall=1))
    )
    assert line.startswith('default_hooks.checkpoint.intervall: ')
    assert "did you mean 'interval'?" in line
    (line,) = lines(default_hooks=dict(logger=7))
    assert 'default_hooks.logger: 7 is not a block' in line


@pytest.mark.parametrize(
    'hook, message',
    [
        (
            dict(type='CheckpointHook', save_best='coco/segm_mAP'),
            "save_best: val_evaluator reports no metric 'coco/segm_mAP'",
        ),
        # MMEngine takes full names alone
        (
            dict(type='CheckpointHook', save_best='bbox_mAP'),
            "'bbox_mAP'; did you mean 'coco/bbox_mAP'?",
        ),
        (
            dict(
                type='luminet_mm.SafeCheckpointHook',
                save_best=['coco/bbox_mAP', 'accuracy/top1'],
            ),
            "no metric 'accuracy/top1'",
        ),
        (
            dict(type='EarlyStoppingHook', monitor='coco/bbox_map'),
            "monitor: val_evaluator reports no metric 'coco/bbox_map'; did",
        ),
    ],
)
@pytest.mark.parametrize('metric', ['CocoMetric', 'FasterCocoMetric'])
def test_a_best_by_a_metric_that_nobody_reports(lines, hook, message, metric):
    evaluator = dict(type=metric, metric='bbox')
    (line,) = lines(hook, val_cfg={}, val_evaluator=evaluator)
    assert line.startswith('custom_hooks.0.') and message in line
    # their metrics are not the evaluator's
    assert not lines(hook, val_cfg=dict(type='TeacherStudentValLoop'))
    assert not lines(hook, val_cfg=None)


def test_a_best_by_a_metric_that_is_reported(lines):
    assert not lines(
        dict(type='CheckpointHook', save_best='auto'),
        dict(type='CheckpointHook', save_best=['coco/bbox_mAP']),
        dict(type='CheckpointHook'),
        dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP_50'),
        val_cfg=dict(type='ValLoop'),
    )
    best = dict(type='CheckpointHook', save_best='mine/score')
    unknown = dict(type='CocoMetric', classwise=True)
    assert not lines(best, val_cfg={}, val_evaluator=unknown)


class PassesOn(CocoMetric):
    """A metric of a user's that passes on what it is given."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class AddsNames(CocoMetric):
    """One that scores more than boxes."""

    def evaluate(self, size):
        return dict(super().evaluate(size), **{'mine/score': 1.0})


class Scores(Hook):
    """A hook that adds a metric of its own."""

    def after_val_epoch(self, runner, metrics=None):
        metrics['mine/score'] = 1.0


def test_metrics_of_a_users_own_are_left_alone(lines):
    best = dict(type='CheckpointHook', save_best='mine/score')
    for kind in (PassesOn, AddsNames):
        evaluator = dict(type=kind, metric='bbox')
        for hook in (best, dict(type='CheckpointHook')):
            assert not lines(hook, val_cfg={}, val_evaluator=evaluator)
    assert not lines(best, dict(type=Scores), val_cfg={})


def test_a_test_needs_no_best(model):
    """Nor does it stop early: a checkpoint of such a run can be tested."""
    cfg = Config(
        dict(
            model=copy.deepcopy(model),
            default_scope='mmdet',
            val_cfg={},
            val_evaluator=dict(type='CocoMetric', metric='bbox'),
            custom_hooks=[dict(type='EarlyStoppingHook', monitor='mine')],
        )
    )
    assert len(hook_problems(cfg)) == 1
    assert not hook_problems(cfg, ('test',))
