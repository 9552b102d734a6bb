"""TeacherCheckHook: a teacher is scored before the first step."""

import json
import os
from pathlib import Path

import pytest
import tiny
import tiny_cls
import torch
from mmengine.registry import DefaultScope
from ranks import run_ranks

import luminet_mm  # noqa: F401  (the ranks load this file by itself)


def run(tmp_path, model=None, validation=True, **hook):
    runner = tiny.runner(
        model or tiny.distiller(),
        tmp_path,
        max_epochs=1,
        custom_hooks=[dict(type='luminet_mm.TeacherCheckHook', **hook)],
        log_level='INFO',
        **(tiny.validation() if validation else {}),
    )
    runner.train()
    return runner


def log_of(runner):
    (path,) = Path(runner.log_dir).glob('*.log')
    return path.read_text()


def test_score_is_printed(tmp_path):
    runner = run(tmp_path, min_metric=0.0)
    text = log_of(runner)
    line = next(x for x in text.splitlines() if 'on the validation set' in x)
    assert 'teacher (FasterRCNN)' in line and 'found 1.0000' in line
    assert text.index(line) < text.index('Epoch(train)')
    assert runner.iter == 4


def test_weak_teacher_stops_the_run_before_the_first_step(tmp_path):
    with pytest.raises(ValueError, match='found = 1.0000.*min_metric=1.5'):
        run(tmp_path, min_metric=1.5)
    assert not list(tmp_path.glob('epoch_*.pth'))


def test_nan_score_is_too_low(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tiny.CountMetric,
        'compute_metrics',
        lambda *_: dict(found=float('nan')),
    )
    with pytest.raises(ValueError, match='found = nan'):
        run(tmp_path, min_metric=0.1)


def test_teacher_that_finds_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny.CountMetric, 'compute_metrics', lambda *_: dict())
    with pytest.raises(ValueError, match='found nothing on the validation'):
        run(tmp_path, metric='coco/bbox_mAP', min_metric=0.3)


def test_metric_must_exist(tmp_path):
    with pytest.raises(ValueError, match="no metric 'coco/bbox_mAP'.*found"):
        run(tmp_path, metric='coco/bbox_mAP', min_metric=0.3)


def test_bound_needs_a_validation_set(tmp_path):
    with pytest.raises(ValueError, match='needs val_dataloader'):
        run(tmp_path, validation=False, min_metric=0.1)
    run(tmp_path / 'unbound', validation=False)


def test_class_names_are_compared(tmp_path):
    model = tiny.distiller()
    model.teacher.config = dict(
        model=model.teacher.config.model,
        train_dataloader=dict(
            dataset=dict(metainfo=dict(classes=tiny.CLASSES[::-1]))
        ),
    )
    with pytest.raises(ValueError, match="class 0 is 'cow' for the teacher"):
        run(tmp_path, model, evaluate=False)


def mapped_teacher(classes):
    """A distiller whose teacher has six classes, mapped to the student's."""
    model = tiny.distiller(teacher=tiny.detector(width=12, num_classes=6))
    six = [*tiny.CLASSES, 'pig', 'calf']
    model.teacher.update(
        config=dict(
            model=model.teacher.config['model'],
            train_dataloader=dict(dataset=dict(metainfo=dict(classes=six))),
        ),
        classes={
            name: ['cow', 'calf'] if name == 'cow' else [name]
            for name in classes
        },
    )
    return model


def test_mapped_classes_are_those_of_the_data(tmp_path):
    runner = run(tmp_path / 'fits', mapped_teacher(tiny.CLASSES))
    assert 'is not scored: its classes are mapped' in log_of(runner)
    with pytest.raises(ValueError, match='teacher.classes: .* another order'):
        run(tmp_path, mapped_teacher(tiny.CLASSES[::-1]), evaluate=False)


def test_validation_of_other_classes_is_refused(tmp_path):
    """A class too few shifts its labels, and the teacher's score with it."""
    validation = tiny.validation()
    validation['val_dataloader']['dataset'] = tiny.ToyDataset(
        4, classes=('cat', 'hen', 'cow')
    )
    hook = dict(type='luminet_mm.TeacherCheckHook', evaluate=False)
    runner = tiny.runner(
        tiny.distiller(), tmp_path, custom_hooks=[hook], **validation
    )
    with pytest.raises(ValueError, match="ToyDataset: .* without 'dog'"):
        runner.train()


def test_resumed_run_is_not_scored_again(tmp_path):
    run(tmp_path)
    runner = tiny.runner(
        tiny.distiller(),
        tmp_path,
        max_epochs=2,
        resume=True,
        log_level='INFO',
        custom_hooks=[
            dict(type='luminet_mm.TeacherCheckHook', min_metric=2.0)
        ],
        **tiny.validation(),
    )
    runner.train()
    assert runner.iter == 8


def test_scoring_runs_the_whole_teacher(tmp_path):
    """What distillation skips (RPN, boxes) must be there to predict."""
    model = tiny.distiller()
    runner = run(tmp_path, model)
    teacher = runner.model.teacher.model
    assert teacher.neck.num_outs == 5
    with torch.no_grad():
        result = teacher.test_step(tiny.batch())
    assert result[0].pred_instances.bboxes.shape[1] == 4


def test_stock_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match='not a distiller.*FasterRCNN'):
        run(tmp_path, tiny.detector())


def named_teacher(classes):
    """A distiller whose teacher knows these class names."""
    model = tiny.distiller()
    model.teacher.config = dict(
        model=model.teacher.config['model'],
        train_dataloader=dict(dataset=dict(metainfo=dict(classes=classes))),
    )
    return model


def train_on(dataset, tmp_path, classes=tiny.CLASSES):
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=dataset,
        collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    runner = tiny.runner(
        named_teacher(classes),
        tmp_path,
        max_epochs=1,
        train_dataloader=loader,
        custom_hooks=[dict(type='luminet_mm.TeacherCheckHook')],
    )
    runner.train()
    return runner


class Wrapper(tiny.ToyDataset):
    """A wrapper that does not pass the names on, as torch's own."""

    def __init__(self, **inner):
        super().__init__(2)
        del self.metainfo
        vars(self).update(inner)


@pytest.mark.parametrize('wrap', ['dataset', 'datasets'])
def test_class_names_inside_wrappers(tmp_path, wrap):
    inner = tiny.ToyDataset(2, classes=tiny.CLASSES[::-1])
    if wrap == 'datasets':  # the second of two
        inner = [tiny.ToyDataset(2), inner]
    with pytest.raises(ValueError, match="class 0 is 'cat' for the teacher"):
        train_on(Wrapper(**{wrap: inner}), tmp_path)


def test_data_without_class_names_train(tmp_path):
    runner = train_on(Wrapper(), tmp_path)
    assert runner.iter == 1
    assert 'class names were not compared: the training data' in log_of(runner)


def coco(folder, name, categories):
    """A CocoDataset's config; its images are never read."""
    (folder / name).write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='1.jpg', height=64, width=64)],
                annotations=[],
                categories=[
                    dict(id=i, name=c) for i, c in enumerate(categories)
                ],
            )
        )
    )
    return dict(
        type='CocoDataset',
        ann_file=str(folder / name),
        data_prefix=dict(img=''),
        metainfo=dict(classes=tiny.CLASSES),
        pipeline=[],
        test_mode=True,
    )


@pytest.mark.parametrize(
    'categories, message',
    [
        (tiny.CLASSES[:-1], 'lacks 1 of 4 needed categories: cow'),
        (tiny.CLASSES[::-1], "lists .* different order.*'cow' in the file"),
    ],
)
@pytest.mark.parametrize('phase', ['train', 'val'])
def test_annotation_files_are_checked(tmp_path, phase, categories, message):
    """Without the tools: MMDetection's own script starts the run."""
    wrong = coco(tmp_path, 'wrong.json', categories)
    right = coco(tmp_path, 'right.json', [*tiny.CLASSES, 'ant'])
    loaders = {}
    for key in ('train', 'val'):
        loaders[f'{key}_dataloader'] = dict(
            batch_size=1,
            num_workers=0,
            dataset=dict(
                type='RepeatDataset',
                times=2,
                dataset=wrong if key == phase else right,
            ),
            sampler=dict(type='DefaultSampler', shuffle=False),
        )
    runner = tiny.runner(
        tiny.distiller(),
        tmp_path,
        custom_hooks=[
            dict(type='luminet_mm.TeacherCheckHook', evaluate=False)
        ],
        **{**tiny.validation(), **loaders},
    )
    with pytest.raises(ValueError, match=f'wrong.json {message}'):
        runner.train()


@pytest.mark.parametrize('workers', [0, 1])
def test_scoring_draws_nothing(tmp_path, workers):
    """Persistent workers draw when they start: not in the check's stead."""
    draws = []
    for evaluate in (False, True):
        arguments = tiny.validation()
        arguments['val_dataloader'].update(
            num_workers=workers, persistent_workers=workers > 0
        )
        runner = tiny.runner(
            tiny.distiller(),
            tmp_path / str(evaluate),
            max_epochs=1,
            custom_hooks=[
                dict(type='luminet_mm.TeacherCheckHook', evaluate=evaluate)
            ],
            **arguments,
        )
        runner.train()
        draws.append(torch.rand(3))
    assert torch.equal(*draws)


def score_on_rank(rank, world_size, folder):
    """Train under DDP with a bound that is met, then with one that is not."""
    os.environ['LOCAL_RANK'] = str(rank)  # as torchrun does
    results = []
    for number, bound in enumerate((0.5, 1.5)):
        with DefaultScope.overwrite_default_scope('mmdet'):
            runner = tiny.runner(
                tiny.distiller(),
                f'{folder}/{number}',
                max_epochs=1,
                launcher='pytorch',
                cfg=dict(
                    model_wrapper_cfg=dict(
                        type='MMDistributedDataParallel',
                        device_ids=None,
                        broadcast_buffers=False,
                    )
                ),
                custom_hooks=[
                    dict(type='luminet_mm.TeacherCheckHook', min_metric=bound),
                    dict(
                        type='luminet_mm.DistillScheduleHook',
                        loss_luminet=dict(warmup=2),
                    ),
                    dict(type='EMAHook'),
                ],
                **tiny.validation(),
            )
            try:
                runner.train()
                weight = runner.model.module.backbone.conv1.weight
                results.append((runner.iter, weight.detach().sum().item()))
            except ValueError as error:
                results.append(str(error))
    return results


@pytest.mark.slow
def test_ranks_agree_on_the_teacher(tmp_path):
    """All go on or all stop: one that stopped alone would leave a deadlock."""
    ranks = run_ranks(score_on_rank, 2, str(tmp_path))
    assert ranks[0] == ranks[1]
    (steps, _), stopped = ranks[0]
    assert steps == 2, 'four batches on two ranks'
    assert 'found = 1.0000' in stopped


def test_classes_of_the_teacher_are_compared(tmp_path):
    model = tiny_cls.distiller()
    runner = tiny_cls.runner(
        model,
        tmp_path,
        custom_hooks=[
            dict(type='luminet_mm.TeacherCheckHook', evaluate=False)
        ],
    )
    runner.model.teacher.classes = tuple(reversed(tiny_cls.CLASSES))
    with pytest.raises(ValueError, match="class 0 is 'five' for the teacher"):
        runner.train()
