"""Statistics of two models' logits: by hand, in chunks as in one piece."""

import math

import numpy as np
import pytest
import torch

from luminet_mm.analysis import (
    AnalysisError,
    PairStatistics,
)


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


def test_mixed_and_missing_rows():
    logits = torch.tensor([[1.0, 2]])
    found = statistics(logits, logits, [0])
    with pytest.raises(AnalysisError, match='some do not'):
        found.update(logits, logits)
    with pytest.raises(AnalysisError, match='some do not'):
        found.merge(statistics(logits, logits))
    with pytest.raises(AnalysisError, match='2 and of 3 classes'):
        found.merge(PairStatistics(3))
    assert found.rows == 1
    with pytest.raises(AnalysisError, match='nothing to compare'):
        PairStatistics(3).summary()
