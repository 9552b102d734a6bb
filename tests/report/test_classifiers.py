"""Classifiers on the page: by class, confusions, pictures."""

import pytest
import torch
from mmpretrain.structures import DataSample

from luminet_mm.report.classifiers import Labels
from luminet_mm.report.groups import make_groups
from luminet_mm.report.images import ValImages
from luminet_mm.report.models import Model
from luminet_mm.report.runs import find_runs


def answers(*rows):
    return [
        DataSample().set_gt_label(label).set_pred_score(torch.tensor(scores))
        for label, scores in rows
    ]


@pytest.fixture
def part(classifiers):
    settings = make_groups(find_runs([classifiers]))[0].settings
    models = [
        Model('student alone', 'student', None, 'a.pth'),
        Model('KD', 'distilled', None, 'b.pth'),
    ]
    before = [(0, [0.2, 0.5, 0.3]), (1, [0.1, 0.8, 0.1]), (2, [0.0, 0.1, 0.9])]
    after = [(0, [0.9, 0.1, 0.0]), (1, [0.6, 0.3, 0.1]), (2, [0.1, 0.1, 0.8])]
    outputs = [answers(*before), answers(*after)]
    return Labels(models, ValImages(settings, 3), outputs)


def test_by_class_and_confused(part):
    assert part.by_class().rows == [
        ['top-1', '66.7', '66.7'],
        ['cat', '0.0', '100.0'],
        ['dog', '100.0', '0.0'],
        ['hen', '100.0', '100.0'],
    ]
    table = part.confused()
    assert table.head == ['true → named', 'student alone', 'KD']
    assert sorted(table.rows) == [
        ['cat → dog', '1', '0'],
        ['dog → cat', '0', '1'],
    ]
    assert part.metrics(part.scores[0])['accuracy/top1'] == pytest.approx(
        200 / 3
    )


def test_only_answers_that_turned_count(part):
    assert part.change(0, 1).tolist() == pytest.approx(
        [0.7, -0.5, 0], abs=1e-5
    )
    case = part.case(0, 0.7)
    (tile,) = case.tiles
    assert tile.title == 'truth: cat'
    assert tile.lines == ['student alone: dog (0.50)', 'KD: cat (0.90)']
    assert case.about.endswith(', +0.70')


def test_nothing_confused_no_table(part):
    right = answers((0, [0.9, 0.1, 0.0]))
    part = Labels(part.models, part.data, [right, right])
    assert part.confused() is None
