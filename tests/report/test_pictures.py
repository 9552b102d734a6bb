"""Pictures as data URIs, with boxes where they belong."""

import base64

import cv2
import numpy as np
import pytest
from mmengine.structures import InstanceData

from luminet_mm.report.pictures import WIDTH, Painter, data_uri, resized

META = dict(classes=('cat', 'dog'), palette=[(255, 0, 0), (0, 255, 0)])


def decoded(source):
    kind, _, content = source.partition(',')
    assert kind == 'data:image/jpeg;base64'
    data = np.frombuffer(base64.b64decode(content), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def test_a_picture_keeps_its_colours():
    image = np.zeros((20, 30, 3), np.uint8) + np.array([200, 30, 30], np.uint8)
    assert np.abs(decoded(data_uri(image)) - image.astype(int)).max() < 12


@pytest.mark.parametrize('width', [40, 1000])
def test_pictures_have_the_size_of_the_page(width):
    large, factor = resized(np.zeros((width // 2, width, 3), np.uint8))
    assert large.shape == (WIDTH // 2, WIDTH, 3)
    assert factor == WIDTH / width


def test_boxes_are_drawn_from_a_score_on():
    image = np.zeros((50, 100, 3), np.uint8)
    boxes = np.array([[10.0, 20, 30, 40], [60, 20, 90, 40]])
    labels, scores = np.array([0, 1]), np.array([0.9, 0.2])
    painter = Painter(META)
    truth = InstanceData(bboxes=boxes, labels=labels)
    answer = InstanceData(bboxes=boxes, labels=labels, scores=scores)
    both = decoded(painter.draw(image, truth, 0)).astype(int)
    one = decoded(painter.draw(image, answer, 0.5)).astype(int)
    assert both.shape == (200, 400, 3)
    left, right = np.s_[150, 60:100], np.s_[150, 260:340]
    for picture in (both, one):  # lower edges: red, and green
        assert picture[left][:, 0].max() > 0
    assert both[156:164, 60:100, 0].max() > 150
    assert both[156:164, 260:340, 1].max() > 150
    assert one[156:164, 60:100, 0].max() > 150
    assert one[156:164, 260:340].max() < 60
    assert right


def test_a_box_over_the_edge_warns_nobody(recwarn):
    box = InstanceData(bboxes=np.array([[-9.0, 2, 200, 9]]), labels=[0])
    Painter(META).draw(np.zeros((10, 20, 3), np.uint8), box, 0)
    assert not [each for each in recwarn if 'bounds' in str(each.message)]


def test_no_box_is_no_error():
    nothing = InstanceData(
        bboxes=np.zeros((0, 4)), labels=np.zeros(0, int), scores=np.zeros(0)
    )
    image = np.full((10, 10, 3), 90, np.uint8)
    assert decoded(Painter(META).draw(image, nothing, 0.5)).std() < 3
