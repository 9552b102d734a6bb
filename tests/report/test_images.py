"""Validation images: how many, their pixels, boxes and predictions."""

import cv2
import numpy as np
import pytest
import torch

from luminet_mm.report.groups import make_groups
from luminet_mm.report.images import ValImages
from luminet_mm.report.models import load_models
from luminet_mm.report.runs import find_runs


@pytest.fixture
def settings(detectors):
    return make_groups(find_runs([detectors]))[0].settings


def test_the_first_images(settings, detectors):
    data = ValImages(settings, 2)
    assert (data.total, data.count, data.whole) == (3, 2, False)
    assert data.classes == ['cat', 'dog', 'hen', 'cow']
    assert data.name(1) == '1.png'
    assert data.boxes(1)[0]['bbox'] == [8, 8, 48, 48]
    bgr = cv2.imread(str(detectors / '1.png'))
    assert np.array_equal(data.pixels(1), bgr[..., ::-1])
    assert ValImages(settings, 99).whole


def test_predictions_are_in_the_images_own_coordinates(detectors):
    groups = make_groups(find_runs([detectors]))
    models, _ = load_models(groups[:1], None)
    data, seen = ValImages(groups[0].settings, 3), []
    found = data.predict(models[0].network, seen.append)
    assert seen == [2, 3] and len(found) == 3
    boxes = found[0].pred_instances.bboxes
    assert boxes.shape == (5, 4) and boxes[:, 2].max() > 48


def test_masks_are_not_kept(settings):
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    class Masks:
        def val_step(self, batch):
            sample = DetDataSample()
            sample.pred_instances = InstanceData(
                bboxes=torch.ones(1, 4), masks=torch.ones(1, 9, 9)
            )
            sample.gt_instances = InstanceData(masks=torch.ones(2, 9, 9))
            return [sample] * len(batch['inputs'])

    for sample in ValImages(settings, 1).predict(Masks()):
        assert list(sample.pred_instances.keys()) == ['bboxes']
        assert 'gt_instances' not in sample


def test_images_without_a_file(settings, monkeypatch):
    data = ValImages(settings, 1)
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    info = dict(img=gray, instances=None)
    monkeypatch.setattr(data.dataset, 'get_data_info', lambda index: info)
    assert data.pixels(0).shape == (3, 4, 3)
    assert (data.pixels(0)[..., 1] == gray).all()
    assert (data.name(7), data.boxes(0)) == ('image 7', [])


def test_a_config_without_validation_is_refused():
    with pytest.raises(ValueError, match='has no val_dataloader'):
        ValImages({}, 1)
