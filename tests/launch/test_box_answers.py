"""What a teacher says of boxes: the same as its own prediction does."""

from types import SimpleNamespace

import box_caching
import numpy as np
import pytest
import tiny
import torch
from box_caching import BOXES, CLASSES, built, data, model_config
from mmdet.structures.bbox import bbox2roi
from mmengine.registry import DefaultScope

from luminet_mm.datasets.views import FlipViews
from luminet_mm.launch.box_answers import Answerer
from luminet_mm.teachers.box_layout import unpack
from luminet_mm.teachers.cache_files import CacheError


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return box_caching.make_photos(tmp_path_factory.mktemp('box') / 'photos')


def answerer(block, boxes=BOXES, jittered=4):
    live = {key: value for key, value in block.items() if key != 'cache'}
    model = tiny.build(model_config(live))
    return Answerer(SimpleNamespace(model=model), 0, boxes, jittered)


@pytest.fixture(scope='module')
def asked(photos):
    """Views, an answerer, and its answers."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        views = FlipViews(built(data(photos))[1])
        found = answerer(box_caching.teacher_block(photos.parent))
        return views, found, [found.ask(views[i]) for i in range(len(views))]


def test_scores_and_best_boxes_are_the_teacher_s_own(asked):
    views, found, answers = asked
    for i in (0, 7):
        item = views[i]
        read = unpack(answers[i][0][None], BOXES, CLASSES + 1)
        batch = {key: [value] for key, value in item.items()}
        seen = found.model.data_preprocessor(batch)['inputs']
        height, width = item['data_samples'].img_shape
        size = np.array([width, height] * 2, np.float32)
        boxes = torch.from_numpy(read.boxes[0] * size)
        with torch.no_grad():
            maps = found.network.extract_feat(seen)
            out = found.network.roi_head._bbox_forward(maps, bbox2roi([boxes]))
        scores = out['cls_score'].numpy()
        most = np.ptp(scores) / 254 / 2
        np.testing.assert_allclose(read.scores[0], scores, atol=most * 1.1)
        best = torch.from_numpy(read.scores[0][:, :-1].argmax(1))
        deltas = out['bbox_pred'].unflatten(1, (-1, 4))
        goals = found.network.roi_head.bbox_head.bbox_coder.decode(
            boxes, deltas[torch.arange(BOXES), best]
        ).numpy()
        goals = goals.clip(-size / 2, 1.5 * size)
        wide = (goals[:, 2:] - goals[:, :2] > 1).all(axis=1)
        gap = np.abs(read.goals[0] * size - goals)[wide]
        assert gap.max() < 0.01 and wide.sum() > BOXES // 2


def test_right_answers_are_counted_on_boxes_of_objects(asked):
    _, _, answers = asked
    for entry, objects, right in answers:
        assert entry.dtype == np.uint8
        assert 1 <= objects <= BOXES and 0 <= right <= objects


def test_a_view_has_the_same_answers_each_time(asked):
    views, found, answers = asked
    for i in (8, 2):
        assert np.array_equal(found.ask(views[i])[0], answers[i][0])
    assert len({entry.tobytes() for entry, *_ in answers}) == len(answers)


def test_an_image_without_objects_has_as_many_boxes(asked):
    views, found, answers = asked
    item = views[0]
    sample = item['data_samples']
    sample.gt_instances = sample.gt_instances[:0]
    entry, objects, right = found.ask(item)
    assert len(entry) == len(answers[0][0]) and (objects, right) == (0, 0)


def test_a_broken_teacher_is_named(photos):
    block = box_caching.teacher_block(photos.parent, seed=4)
    found = answerer(block)
    bias = found.network.roi_head.bbox_head.fc_cls.bias
    bias.data[1] = torch.nan
    view = FlipViews(built(data(photos))[1])[0]
    with pytest.raises(CacheError, match='image 0: .* not finite; it is brok'):
        found.ask(view)


def test_a_cascade_has_several_box_heads(photos):
    block = dict(
        config=dict(model=tiny.detector('cascade')),
        checkpoint=None,
    )
    model = model_config(block)
    model.distill.loss_kd = dict(
        type='luminet_mm.KDLoss',
        student='roi.cls_score',
        teacher='roi.0.cls_score',
    )
    runner = SimpleNamespace(model=tiny.build(model))
    with pytest.raises(CacheError, match='the teacher .* a single box head'):
        Answerer(runner, 0)
    live = dict(config=dict(model=tiny.detector()), checkpoint=None)
    runner.model = tiny.build(model_config(live))
    runner.model.teachers[0].model.rpn_head = None
    with pytest.raises(CacheError, match='FasterRCNN does not have an rpn_he'):
        Answerer(runner, 0)
