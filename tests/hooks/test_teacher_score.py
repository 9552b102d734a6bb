"""A teacher is scored by what it predicts, if it knows the data's classes."""

import json
from pathlib import Path

import pytest
import tiny
import tiny_cls
from mmengine.evaluator import DumpResults
from mmengine.registry import DefaultScope

from luminet_mm.distillers.blocks import compares_classes
from luminet_mm.hooks import TeacherCheckHook
from luminet_mm.losses import ATLoss, KDLoss
from luminet_mm.losses.fcfd import FCFDLoss

AT = dict(loss_at=dict(type='luminet_mm.ATLoss', signal='backbone'))


@pytest.fixture(scope='module')
def annotations(tmp_path_factory):
    """The toy validation set as a COCO file."""
    images, boxes = [], []
    for i, item in enumerate(tiny.ToyDataset(4)):
        sample = item['data_samples']
        height, width = sample.ori_shape
        images.append(
            dict(id=i, file_name=f'{i}.jpg', height=height, width=width)
        )
        instances = sample.gt_instances
        for box, label in zip(instances.bboxes, instances.labels):
            x, y, x2, y2 = box.tolist()
            corners = [x, y, x2, y, x2, y2, x, y2]
            boxes.append(
                dict(
                    id=len(boxes) + 1,
                    image_id=i,
                    category_id=int(label),
                    bbox=[x, y, x2 - x, y2 - y],
                    area=(x2 - x) * (y2 - y),
                    iscrowd=0,
                    segmentation=[corners],
                )
            )
    categories = [dict(id=i, name=name) for i, name in enumerate(tiny.CLASSES)]
    path = tmp_path_factory.mktemp('coco') / 'val.json'
    path.write_text(
        json.dumps(
            dict(images=images, annotations=boxes, categories=categories)
        )
    )
    return str(path)


def log_of(runner):
    (path,) = Path(runner.log_dir).glob('*.log')
    return path.read_text()


def check(tmp_path, model, evaluator=None, **hook):
    """Run the hook alone; it is what is before the first step."""
    arguments = tiny.validation()
    if evaluator is not None:
        arguments['val_evaluator'] = evaluator
    runner = tiny.runner(model, tmp_path, log_level='INFO', **arguments)
    TeacherCheckHook(**hook).before_train(runner)
    return runner


def coco(annotations, *kinds, **options):
    return dict(
        type='CocoMetric', ann_file=annotations, metric=list(kinds), **options
    )


def mask_student(teacher='faster'):
    return tiny.distiller(
        tiny.detector('mask'), tiny.detector(teacher, width=12), **AT
    )


def test_boxes_alone_are_scored_of_a_teacher_without_masks(
    tmp_path, annotations
):
    metric = coco(annotations, 'bbox', 'segm', outfile_prefix=f'{tmp_path}/x')
    runner = check(tmp_path, mask_student(), metric, min_metric=0.0)
    text = log_of(runner)
    assert 'it does not predict masks, so CocoMetric scores only bbox' in text
    line = next(x for x in text.splitlines() if 'on the validation set' in x)
    assert 'coco/bbox_mAP ' in line and 'segm' not in line
    # the student's own evaluator is as it was, and wrote no files
    (own,) = runner.val_loop.evaluator.metrics
    assert own.metrics == ['bbox', 'segm'] and own.results == []
    assert own.outfile_prefix == f'{tmp_path}/x'
    assert not list(tmp_path.glob('x*'))


def test_masks_are_scored_of_a_teacher_that_has_some(tmp_path, annotations):
    metric = coco(annotations, 'bbox', 'segm')
    runner = check(tmp_path, mask_student('mask'), metric)
    assert 'coco/segm_mAP ' in log_of(runner)


def test_bounding_masks_that_a_teacher_does_not_predict(tmp_path, annotations):
    metric = coco(annotations, 'bbox', 'segm')
    with pytest.raises(ValueError, match='does not predict masks'):
        check(
            tmp_path,
            mask_student(),
            metric,
            metric='segm_mAP',
            min_metric=0.1,
        )


@pytest.mark.parametrize(
    'evaluator, why',
    [
        (lambda a: coco(a, 'segm'), 'it does not predict masks, which Coco'),
        (
            lambda a: coco(a, 'bbox', format_only=True, outfile_prefix='x'),
            'CocoMetric has format_only=True: it writes files and scores',
        ),
    ],
)
def test_nothing_to_score(tmp_path, annotations, evaluator, why):
    runner = check(tmp_path, mask_student(), evaluator(annotations))
    assert f'is not scored: {why}' in log_of(runner)
    with pytest.raises(ValueError, match=f'cannot be scored on .*{why}'):
        check(
            tmp_path / 'bound',
            mask_student(),
            evaluator(annotations),
            min_metric=0.1,
        )


def test_predictions_are_not_dumped_for_the_student(tmp_path):
    dump = DumpResults(out_file_path=str(tmp_path / 'x.pkl'))
    evaluator = [dict(type='mmengine.CountMetric'), dump]
    runner = check(tmp_path, tiny.distiller(), evaluator)
    assert 'found 1.0000' in log_of(runner)
    assert not (tmp_path / 'x.pkl').exists() and dump.results == []


def test_the_main_metric_is_bounded_by_default(tmp_path, annotations):
    """As the README shows it: it ended in an error after the validation."""
    message = r'scores coco/bbox_mAP = 0.\d+ on the .*min_metric=0.9'
    with pytest.raises(ValueError, match=message):
        check(
            tmp_path,
            tiny.distiller(),
            coco(annotations, 'bbox'),
            min_metric=0.9,
        )


@pytest.mark.parametrize(
    'hook, message',
    [
        (dict(min_metric=35), 'coco/bbox_mAP is a fraction of 1; write 0.35'),
        (
            dict(metric='bbox_map', min_metric=0.3),
            "did you mean 'coco/bbox_mAP'",
        ),
    ],
)
def test_a_wrong_bound_is_found_before_the_teacher_is_scored(
    tmp_path, annotations, monkeypatch, hook, message
):
    monkeypatch.setattr(
        'luminet_mm.hooks.teacher_score.TeacherScore.run',
        lambda *_: pytest.fail('it is scored'),
    )
    with pytest.raises(ValueError, match=message):
        check(tmp_path, tiny.distiller(), coco(annotations, 'bbox'), **hook)


def test_a_misspelt_schedule_is_found_before_the_teacher_is_scored(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        'luminet_mm.hooks.teacher_score.TeacherScore.run',
        lambda *_: pytest.fail('it is scored'),
    )
    hooks = [
        dict(type='luminet_mm.TeacherCheckHook'),
        dict(
            type='luminet_mm.DistillScheduleHook',
            loss_lumient=dict(warmup=3),
        ),
    ]
    runner = tiny.runner(
        tiny.distiller(), tmp_path, custom_hooks=hooks, **tiny.validation()
    )
    with pytest.raises(ValueError, match="did you mean 'loss_luminet'"):
        runner.train()


@pytest.mark.parametrize(
    'hook, message',
    [
        (dict(evaluate=False, min_metric=0.3), 'has no effect with evaluate='),
        (dict(evaluate=1), 'evaluate is 1; set True or False'),
        (dict(min_metric='0.3'), "min_metric is '0.3'; set a number"),
        (dict(min_metric=float('inf')), 'min_metric is inf'),
        (dict(metric=''), "metric is ''; name one"),
        (dict(metric='coco/bbox_mAP', min_metric=35), 'write 0.35'),
        (dict(metric='accuracy/top1', min_metric=0.7), 'write 70'),
    ],
)
def test_arguments_are_checked_when_the_hook_is_built(hook, message):
    with pytest.raises(ValueError, match=message):
        TeacherCheckHook(**hook)


def other_classes(num_classes=5, names=None, **losses):
    """A distiller whose teacher knows other classes, or more of them."""
    model = tiny.distiller(
        teacher=tiny.detector(width=12, num_classes=num_classes),
        **(losses or AT),
    )
    if names:
        model.teacher.config = dict(
            model=model.teacher.config['model'],
            train_dataloader=dict(dataset=dict(metainfo=dict(classes=names))),
        )
    return model


@pytest.mark.parametrize(
    'model, why',
    [
        (dict(), 'it has 5 classes and the student 4'),
        (
            dict(num_classes=4, names=tiny.CLASSES[::-1]),
            'its classes differ from those of the data',
        ),
        (
            dict(names=('ant', 'bee', 'cat', 'dog', 'eel')),
            'its classes differ',
        ),
    ],
)
def test_a_teacher_of_features_may_know_other_classes(
    tmp_path, annotations, model, why
):
    metric = coco(annotations, 'bbox')
    runner = check(tmp_path, other_classes(**model), metric)
    assert f'is not scored: {why}' in log_of(runner)
    with pytest.raises(ValueError, match=f'cannot be scored .*: {why}'):
        check(
            tmp_path / 'bound',
            other_classes(**model),
            metric,
            min_metric=0.1,
        )


def test_one_loss_on_logits_wants_the_same_classes(tmp_path):
    logits = dict(type='luminet_mm.KDLoss', signal='roi.cls_score')
    model = other_classes(4, tiny.CLASSES[::-1], loss_kd=logits, **AT)
    with pytest.raises(ValueError, match='disagree on the classes'):
        check(tmp_path, model)


def test_which_losses_compare_classes():
    kd, at = KDLoss(), ATLoss()
    assert compares_classes(kd, ('logits',), ('logits',))
    assert compares_classes(kd, ('roi.0.cls_score',), ('roi.cls_score',))
    assert compares_classes(kd, ('head.fc',), ('head.fc',))
    assert not compares_classes(kd, ('rpn.cls_score',), ('rpn.cls_score',))
    assert not compares_classes(kd, ('feats',), ('feats',))
    assert not compares_classes(at, ('backbone',), ('backbone',))
    assert not compares_classes(at, ('roi.feats',), ('roi.feats',))
    assert compares_classes(at, ('roi.bbox_pred',), ('roi.bbox_pred',))
    assert FCFDLoss.runs_layers  # through the teacher's classifier


def test_a_reused_classifier_wants_the_teachers_classes(tmp_path):
    """SimKD compares features, and then predicts with the teacher's head."""
    student = tiny_cls.classifier()
    student['neck'] = [
        dict(type='luminet_mm.SimKDNeck', in_channels=64, out_channels=96),
        dict(type='mmpretrain.GlobalAveragePooling'),
    ]
    student['head'].update(type='luminet_mm.ReusedClsHead', in_channels=96)
    loss = dict(
        type='luminet_mm.SimKDLoss',
        student='neck.0',
        teacher='backbone',
        levels=[-1],
        factor=None,
    )
    cfg = tiny_cls.distiller(student, loss_simkd=loss)
    cfg['teacher']['config']['train_dataloader'] = dict(
        dataset=dict(metainfo=dict(classes=tiny_cls.CLASSES[::-1]))
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        runner = tiny_cls.runner(cfg, tmp_path)
        with pytest.raises(ValueError, match='disagree on the classes'):
            TeacherCheckHook(evaluate=False).before_train(runner)
