"""Analysis: every number by hand, in chunks as in one piece, on models."""

import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from tiny import batch, build, detector

from luminet_mm.analysis import (
    AnalysisError,
    LogitPair,
    PairStatistics,
    boxes_in_view,
    roi_labels,
)
from luminet_mm.teachers.frozen import FrozenTeacher


def statistics(student, teacher, labels=None):
    student, teacher = map(torch.as_tensor, (student, teacher))
    result = PairStatistics(student.shape[1])
    result.update(
        student, teacher, None if labels is None else torch.tensor(labels)
    )
    return result


def random_pair(rows=60, classes=7, seed=0):
    draw = torch.Generator().manual_seed(seed)
    student = 3 * torch.randn(rows, classes, generator=draw)
    teacher = student + torch.randn(rows, classes, generator=draw)
    return student, teacher, torch.randint(classes, (rows,), generator=draw)


# Two classes; a logit is the log of a probability.
STUDENT = [(0.9, 0.1), (0.35, 0.65), (0.85, 0.15), (0.3, 0.7)]
TEACHER = [(0.9, 0.1), (0.65, 0.35), (0.9, 0.1), (0.08, 0.92)]
LABELS = [0, 1, 1, 1]


@pytest.fixture
def by_hand():
    student, teacher = (
        torch.tensor(p, dtype=torch.float64).log() for p in (STUDENT, TEACHER)
    )
    return statistics(student, teacher, LABELS).summary()


def test_agreement_and_accuracy(by_hand):
    # top-1 of the student 0 1 0 1, of the teacher 0 0 0 1
    assert by_hand['rows'] == 4 and by_hand['labelled'] is True
    assert by_hand['agreement'] == 0.75
    assert by_hand['student_accuracy'] == 0.75
    assert by_hand['teacher_accuracy'] == 0.5
    classes = by_hand['per_class']
    assert classes['rows'] == [1, 3]
    assert classes['agreement'] == pytest.approx([1, 2 / 3])
    assert classes['student_accuracy'] == pytest.approx([1, 2 / 3])
    assert classes['teacher_accuracy'] == pytest.approx([1, 1 / 3])


def test_kl_is_of_the_student_from_the_teacher(by_hand):
    rows = [
        sum(t * math.log(t / s) for s, t in zip(*row))
        for row in zip(STUDENT, TEACHER)
    ]
    assert by_hand['kl'] == pytest.approx(sum(rows) / 4)
    assert by_hand['per_class']['kl'] == pytest.approx(
        [rows[0], sum(rows[1:]) / 3], abs=1e-12
    )


def test_calibration_error(by_hand):
    # Each of the student's confidences .9 .65 .85 .7 has a bin of its own;
    # all but the third are right.
    assert by_hand['student']['ece'] == pytest.approx(
        (0.1 + 0.35 + 0.85 + 0.3) / 4
    )
    # The teacher's .9 .9 .92 share the bin (13/15, 14/15], two are right; .65
    # is wrong.
    assert by_hand['teacher']['ece'] == pytest.approx(
        (abs(2 - (0.9 + 0.9 + 0.92)) + 0.65) / 4
    )
    assert by_hand['teacher']['confidence'] == pytest.approx(3.37 / 4)
    bins = by_hand['teacher']['bins']
    assert bins['rows'] == [0] * 9 + [1] + [0] * 3 + [3, 0]
    assert bins['accuracy'][13] == pytest.approx(2 / 3)
    assert bins['confidence'][13] == pytest.approx(2.72 / 3)
    assert bins['accuracy'][0] is None


def test_similarity_is_a_correlation_per_class():
    found = statistics(
        # columns 1 2 3 and 0 0 1; 1 3 2 and 1 0 0
        [[1.0, 0], [2, 0], [3, 1]],
        [[1.0, 1], [3, 0], [2, 0]],
    )
    assert found.similarity().tolist() == pytest.approx([0.5, -0.5])
    # of the student's own two columns sqrt(3/4), of the teacher's -sqrt(3/4)
    gap = found.correlation_gap()
    assert gap.tolist()[0] == pytest.approx([0, math.sqrt(3)])
    summary = found.summary()
    assert summary['similarity'] == pytest.approx(0)
    assert summary['correlation_gap'] == pytest.approx(
        dict(mean=math.sqrt(3), max=math.sqrt(3))
    )


def test_logit_gap_is_between_means_of_a_class():
    found = statistics(
        [[1.0, 0, 5], [2, 0, 5], [3, 1, 5]],
        [[1.0, 1, 5], [3, 0, 5], [2, 0, 5]],
        [0, 0, 1],
    )
    gap = found.logit_gap()
    assert gap[:2].tolist() == [[0.5, 0.5, 0], [1, 1, 0]]
    assert gap[2].isnan().all(), 'no row has class 2'
    # off the diagonal .5 0 of class 0, 1 0 of class 1
    assert found.summary()['logit_gap'] == dict(mean=0.375, max=1)
    # a constant logit correlates with nothing
    assert found.summary()['per_class']['similarity'][2] is None
    assert found.summary()['similarity'] == pytest.approx(0)


def test_identical_models():
    student, _, labels = random_pair()
    found = statistics(student, student, labels.tolist()).summary()
    assert found['agreement'] == 1 and found['kl'] == 0
    assert found['per_class']['similarity'] == pytest.approx([1] * 7)
    assert found['logit_gap'] == dict(mean=0, max=0)
    assert found['correlation_gap']['max'] == pytest.approx(0, abs=1e-12)
    assert found['student'] == found['teacher']


def test_similarity_ignores_scale_and_shift_of_a_class():
    student, teacher, _ = random_pair()
    draw = torch.Generator().manual_seed(1)
    scale = torch.rand(7, generator=draw) + 0.5
    # the shift also takes digits: sums of squares would have lost them
    shift = 1e4 * torch.rand(7, generator=draw).double()
    torch.testing.assert_close(
        statistics(student * scale + shift, teacher).similarity(),
        statistics(student, teacher).similarity(),
        atol=1e-6,
        rtol=0,
    )


def test_perfect_calibration():
    logits = torch.tensor([0.75, 0.25]).log().repeat(4, 1)
    found = statistics(logits, logits, [0, 0, 0, 1]).summary()
    assert found['student']['ece'] == pytest.approx(0, abs=1e-7)
    assert found['student']['confidence'] == pytest.approx(0.75)


def test_bins_are_closed_on_the_right():
    # 1/3 = 5/15 belongs to the fifth bin, certainty to the last
    logits = [[0.0, 0, 0], [1000, 0, 0]]
    bins = statistics(logits, logits, [0, 0]).summary()['student']['bins']
    assert bins['rows'] == [0, 0, 0, 0, 1] + [0] * 9 + [1]


def test_against_numpy():
    student, teacher, labels = random_pair(200, 5)
    found = statistics(student, teacher, labels.tolist()).summary()
    s, t, y = (x.double().numpy() for x in (student, teacher, labels))
    for side, z in (('student', s), ('teacher', t)):
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        ece = 0
        for m in range(1, 16):
            of = (p.max(1) > (m - 1) / 15) & (p.max(1) <= m / 15)
            if of.any():
                accuracy = (p[of].argmax(1) == y[of]).mean()
                ece += of.mean() * abs(accuracy - p[of].max(1).mean())
        assert found[side]['ece'] == pytest.approx(ece)
    assert found['per_class']['similarity'] == pytest.approx(
        [np.corrcoef(s[:, j], t[:, j])[0, 1] for j in range(5)]
    )
    gap = abs(np.corrcoef(s.T) - np.corrcoef(t.T))
    assert found['correlation_gap']['max'] == pytest.approx(gap.max())
    gap = [
        abs(s[y == k].mean(0) - t[y == k].mean(0))[np.arange(5) != k]
        for k in range(5)
    ]
    assert found['logit_gap']['mean'] == pytest.approx(np.mean(gap))


def assert_equal_sums(one, other):
    assert one.sums.keys() == other.sums.keys()
    for name, value in one.sums.items():
        torch.testing.assert_close(value, other.sums[name], msg=name)
    for name in ('mean', 'comoment'):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize('labelled', [True, False])
def test_chunks_and_processes_give_the_whole(labelled):
    student, teacher, labels = random_pair()
    labels = labels if labelled else None
    whole = PairStatistics(7)
    whole.update(student, teacher, labels)

    def part(*sizes, start=0):
        result = PairStatistics(7)
        for size in sizes:
            rows = slice(start, start + size)
            result.update(
                student[rows],
                teacher[rows],
                None if labels is None else labels[rows],
            )
            start += size
        return result

    assert_equal_sums(part(1, 0, 20, 39), whole)
    merged = part(5, 6)
    merged.merge(PairStatistics(7))  # a process without data
    merged.merge(part(49, start=11))
    assert_equal_sums(merged, whole)
    assert merged.labelled is labelled
    empty = PairStatistics(7)
    empty.merge(whole)
    assert_equal_sums(empty, whole)


def test_without_labels_rows_go_by_the_teachers_class():
    found = statistics(
        [[1.0, 0], [0, 1], [0, 1]], [[1.0, 0], [1, 0], [0, 1]]
    ).summary()
    assert found['labelled'] is False
    assert found['student_accuracy'] is found['student']['ece'] is None
    assert found['student']['bins']['accuracy'] is None
    assert found['per_class']['rows'] == [2, 1]
    assert found['per_class']['agreement'] == [0.5, 1]
    assert 'student_accuracy' not in found['per_class']


def test_some_classes_alone():
    student, teacher, labels = random_pair()
    some = labels < 5
    means = statistics(student, teacher, labels.tolist()).means(slice(5))
    alone = statistics(
        student[some], teacher[some], labels[some].tolist()
    ).means()
    assert means == pytest.approx(alone)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (([[1.0, 2]], [[1.0, 2, 3]], [0]), 'teacher gives logits.*same class'),
        (([[1.0, 2]], [[1.0, math.nan]], [0]), 'teacher gives NaN or inf'),
        (([[math.inf, 2]], [[1.0, 2]], [0]), 'student gives NaN or inf'),
        (([[1.0, 2]], [[1.0, 2], [3, 4]], [0]), '1 rows.* and 2'),
        (([[1.0, 2]], [[1.0, 2]], [2]), 'labels go from 2 to 2'),
        (([[1.0, 2]], [[1.0, 2]], [-1]), 'labels go from -1'),
    ],
)
def test_what_cannot_be_compared(arguments, message):
    with pytest.raises(AnalysisError, match=message):
        statistics(*arguments)


def test_mixed_and_missing_rows():
    logits = torch.tensor([[1.0, 2]])
    found = statistics(logits, logits, [0])
    with pytest.raises(AnalysisError, match='some have none'):
        found.update(logits, logits)
    with pytest.raises(AnalysisError, match='some have none'):
        found.merge(statistics(logits, logits))
    with pytest.raises(AnalysisError, match='2 and of 3 classes'):
        found.merge(PairStatistics(3))
    assert found.rows == 1
    with pytest.raises(AnalysisError, match='nothing to compare'):
        PairStatistics(3).summary()


# -- the rows of real models ------------------------------------------------


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
    with pytest.raises(AnalysisError, match='in place of logits'):
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
