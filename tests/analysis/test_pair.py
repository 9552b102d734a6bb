"""Both models on the same rows: images, or the student's RoIs."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from tiny import batch, build, detector

from luminet_mm.analysis import (
    AnalysisError,
    LogitPair,
    measure,
    roi_labels,
)
from luminet_mm.analysis.pair import boxes_in_view
from luminet_mm.teachers.frozen import FrozenTeacher


def sample(boxes, labels):
    return DetDataSample(
        gt_instances=InstanceData(
            bboxes=torch.tensor(boxes).reshape(-1, 4),
            labels=torch.tensor(labels, dtype=torch.long),
        )
    )


def test_roi_labels():
    proposals = [
        torch.tensor(
            [
                [0.0, 0, 10, 5],  # IoU 0.5 with the first, exactly
                [0.0, 0, 10, 4.9],
                [
                    0.0,
                    5,
                    10,
                    12,
                ],  # 0.5 / 1.2 with the first, 2 / 7 with the other
                [0.0, 9, 10, 12],
            ]
        ),
        torch.tensor([[0.0, 0, 10, 10]]),
    ]
    samples = [
        sample([[0.0, 0, 10, 10], [0.0, 10, 10, 12]], [3, 0]),
        sample([], []),
    ]
    assert roi_labels(proposals, samples, 4).tolist() == [3, 4, 4, 0, 4]


def teacher_of(model, kind):
    teacher = FrozenTeacher(dict(model=kind), None)
    teacher.model.load_state_dict(model.state_dict())
    return teacher


@pytest.mark.parametrize('kind', ['faster', 'cascade'])
def test_a_detector_is_its_own_equal(kind):
    student = build(detector(kind)).eval()
    pair = LogitPair(student, [(teacher_of(student, detector(kind)), 1.0)])
    ours, theirs, labels = pair(batch())
    assert ours.shape == (len(labels), 5) and len(labels) > 20
    torch.testing.assert_close(ours, theirs)


def test_rows_are_the_rois_of_the_students_prediction():
    student = build(detector()).eval()
    seen = []
    forward = student.roi_head._bbox_forward

    def spy(feats, rois):
        seen.append((rois, forward(feats, rois)['cls_score']))
        return forward(feats, rois)

    student.roi_head._bbox_forward = spy
    student.test_step(batch())
    pair = LogitPair(
        student, [(FrozenTeacher(dict(model=detector(width=12)), None), 1.0)]
    )
    ours, theirs, _ = pair(batch())
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(ours, seen[0][1])
    assert theirs.shape == ours.shape and not torch.allclose(ours, theirs)


def test_without_annotations_there_are_no_labels():
    student = build(detector()).eval()
    teachers = [(teacher_of(student, detector()), 1.0)]
    assert LogitPair(student, teachers, labelled=False)(batch())[2] is None


def test_models_that_have_no_rois():
    retina = dict(
        type='RetinaNet',
        backbone=dict(
            type='ResNet', depth=18, base_channels=8, stem_channels=8
        ),
        neck=dict(
            type='FPN',
            in_channels=[8, 16, 32, 64],
            out_channels=16,
            num_outs=5,
        ),
        bbox_head=dict(
            type='RetinaHead', num_classes=4, in_channels=16, feat_channels=16
        ),
        data_preprocessor=dict(type='DetDataPreprocessor'),
    )
    student = build(detector())
    teacher = FrozenTeacher(dict(model=retina), None)
    with pytest.raises(ValueError, match='no RoI head'):
        LogitPair(student, [(teacher, 1.0)])
    with pytest.raises(AnalysisError, match=r'\(RetinaNet\) has no RPN'):
        LogitPair(build(retina), [(teacher_of(student, detector()), 1.0)])


def classifier(classes=3, channels=4, mean=(0.0, 0, 0), to_rgb=False):
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(
            type='mmpretrain.ResNet',
            depth=18,
            stem_channels=channels,
            base_channels=channels,
        ),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(
            type='mmpretrain.LinearClsHead',
            num_classes=classes,
            in_channels=8 * channels,
        ),
        data_preprocessor=dict(
            type='mmpretrain.ClsDataPreprocessor',
            mean=list(mean),
            std=[50.0, 60, 70],
            to_rgb=to_rgb,
        ),
    )


def images(labels=(0, 2)):
    from mmpretrain.structures import DataSample

    draw = torch.Generator().manual_seed(0)
    samples = [DataSample() for _ in range(2)]
    for item, label in zip(samples, labels or ()):
        item.set_gt_label(label)
    inputs = torch.randint(0, 256, (2, 3, 32, 32), generator=draw).byte()
    return dict(inputs=inputs, data_samples=samples)


def test_classifiers_see_the_image_each_in_its_own_way():
    student = build(classifier()).eval()
    other = classifier(mean=(90.0, 80, 70), to_rgb=True)
    teachers = [
        (FrozenTeacher(dict(model=other), None), weight)
        for weight in (1.0, 3.0)
    ]
    ours, theirs, labels = LogitPair(student, teachers)(images())
    assert labels.tolist() == [0, 2]

    def alone(model):
        data = model.data_preprocessor(images(), False)
        return model(data['inputs'], mode='tensor')

    torch.testing.assert_close(ours, alone(student))
    answers = [alone(teacher.model) for teacher, _ in teachers]
    torch.testing.assert_close(theirs, (answers[0] + 3 * answers[1]) / 4)


def test_images_without_or_with_several_labels():
    student = build(classifier()).eval()
    pair = LogitPair(student, [(teacher_of(student, classifier()), 1.0)])
    assert pair(images(labels=None))[2] is None
    assert pair(dict(inputs=images()['inputs']))[2] is None
    with pytest.raises(AnalysisError, match='several labels'):
        pair(images(labels=([0, 1], [2])))


def test_a_classifier_cannot_teach_a_detector():
    student = build(detector())
    teacher = FrozenTeacher(dict(model=classifier()), None)
    with pytest.raises(AnalysisError, match='detector and the teacher'):
        LogitPair(student, [(teacher, 1.0)])
    with pytest.raises(AnalysisError, match='classifier and the teacher'):
        LogitPair(
            build(classifier()), [(teacher_of(student, detector()), 1.0)]
        )


def test_heads_without_one_output():
    student = build(classifier()).eval()
    pair = LogitPair(student, [(teacher_of(student, classifier()), 1.0)])
    student.head = None
    with pytest.raises(AnalysisError, match='instead of logits'):
        pair(images())


def test_boxes_are_loaded_before_the_image_is_resized():
    def pipeline():
        return [
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(64, 64)),
            dict(type='mmdet.LoadAnnotations', with_mask=True),
            dict(type='PackDetInputs'),
        ]

    dataset = ConfigDict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='RepeatDataset',
                dataset=dict(type='CocoDataset', pipeline=pipeline()),
            ),
            dict(type='CocoDataset', pipeline=pipeline()),
        ],
    )
    boxes_in_view(dataset)
    for leaf in (dataset.datasets[0].dataset, dataset.datasets[1]):
        assert [step.type for step in leaf.pipeline] == [
            'LoadImageFromFile',
            'mmdet.LoadAnnotations',
            'Resize',
            'PackDetInputs',
        ]
        assert 'with_mask' not in leaf.pipeline[1]


def test_all_batches_are_measured():
    """As one batch: the last may be smaller."""
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 3, generator=draw)
    labels = torch.arange(7) % 3
    rows = list(zip(*(each.split(3) for each in (student, teacher, labels))))
    found = measure(lambda batch: batch, rows)
    whole = measure(lambda batch: batch, [(student, teacher, labels)])
    assert found.summary()['rows'] == 7
    assert found.summary()['kl'] == pytest.approx(whole.summary()['kl'])
    assert measure(lambda batch: batch, []) is None
