"""TeacherCheckHook: a teacher is scored before the first step."""
import pytest
import tiny
import torch

STEPS = []


def run(tmp_path, model=None, validation=True, **hook):
    runner = tiny.runner(
        model or tiny.distiller(),
        tmp_path,
        max_epochs=1,
        custom_hooks=[dict(type='luminet_mm.TeacherCheckHook', **hook)],
        log_level='INFO',
        **(tiny.validation() if validation else {}))
    runner.train()
    return runner


def log_of(runner):
    return open(next(runner.log_dir.glob('*.log')) if hasattr(
        runner.log_dir, 'glob') else runner.logger.handlers[1].baseFilename
                ).read()


def test_score_is_printed(tmp_path):
    runner = run(tmp_path, min_metric=0.0)
    text = log_of(runner)
    line = next(x for x in text.splitlines() if 'teacher (FasterRCNN)' in x)
    assert 'found 1.0000' in line
    assert text.index(line) < text.index('Epoch(train)')
    assert runner.iter == 4


def test_weak_teacher_stops_the_run_before_the_first_step(tmp_path):
    with pytest.raises(ValueError, match='found = 1.0000.*min_metric=1.5'):
        run(tmp_path, min_metric=1.5)
    assert not list(tmp_path.glob('epoch_*.pth'))


def test_nan_score_is_too_low(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny.CountMetric, 'compute_metrics',
                        lambda *_: dict(found=float('nan')))
    with pytest.raises(ValueError, match='found = nan'):
        run(tmp_path, min_metric=0.1)


def test_metric_must_exist(tmp_path):
    with pytest.raises(ValueError, match="metric='coco/bbox_mAP'.*found"):
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
            dataset=dict(metainfo=dict(classes=tiny.CLASSES[::-1]))))
    with pytest.raises(ValueError, match="class 0 is 'cow' for the teacher"):
        run(tmp_path, model, evaluate=False)


def test_resumed_run_is_not_scored_again(tmp_path):
    run(tmp_path)
    runner = tiny.runner(
        tiny.distiller(), tmp_path, max_epochs=2, resume=True,
        log_level='INFO',
        custom_hooks=[
            dict(type='luminet_mm.TeacherCheckHook', min_metric=2.0)
        ], **tiny.validation())
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
