"""Detectors on the page: by class, and pictures of what changed."""

import numpy as np
import pytest

from luminet_mm.report.detectors import Boxes
from luminet_mm.report.groups import make_groups
from luminet_mm.report.images import ValImages
from luminet_mm.report.models import Model
from luminet_mm.report.runs import find_runs


@pytest.fixture
def part(detectors):
    """A student that finds nothing, and a model that finds everything."""
    from mmengine.structures import BaseDataElement, InstanceData

    data = ValImages(make_groups(find_runs([detectors]))[0].settings, 3)
    perfect, blind = [], []
    for index in range(3):
        (object_,) = data.boxes(index)
        for outputs, least in ((perfect, 0), (blind, 1)):
            instances = InstanceData(
                bboxes=np.array([object_['bbox']], float)[least:],
                labels=np.array([object_['bbox_label']])[least:],
                scores=np.array([0.9])[least:],
            )
            outputs.append(BaseDataElement(pred_instances=instances))
    models = [
        Model('student alone', 'student', None, 'a.pth'),
        Model('LumiNet', 'distilled', None, 'b.pth'),
    ]
    return Boxes(models, data, [blind, perfect])


def test_by_class(part):
    table = part.by_class()
    assert table.head == ['class', 'student alone', 'LumiNet']
    assert table.rows[0] == ['all classes', '0.0', '100.0']
    assert table.rows[2:] == [
        ['cat', '0.0', '100.0'],
        ['dog', '0.0', '100.0'],
        ['hen', '0.0', '100.0'],
        ['cow', '–', '–'],
    ]
    assert part.metrics(part.scores[1])['coco/bbox_mAP'] == 1
    assert part.confused() is None


def test_a_case(part):
    assert part.change(0, 1).tolist() == [1, 1, 1]
    case = part.case(2, 1.0)
    assert case.about == '2.png: F1 +1.00'
    assert [(tile.title, *tile.lines) for tile in case.tiles] == [
        ('ground truth',),
        ('student alone', '0 found, 1 missed, 0 false'),
        ('LumiNet', '1 found, 0 missed, 0 false'),
    ]
    assert all(t.source.startswith('data:image/jpeg') for t in case.tiles)
    assert 'for student alone' in part.about
