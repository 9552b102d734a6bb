"""Parts of a model as functions of tensors: what the stock model computes."""

import pytest
import tiny
import tiny_cls
import tiny_dense
import tiny_detr
import torch

from luminet_mm.export.parts import Pixels, RoIScores, flat, parts_of

SIZE = (64, 64)


def pixels(number=2, size=64):
    generator = torch.Generator().manual_seed(1)
    shape = (number, 3, size, size)
    return torch.randint(0, 256, shape, generator=generator).byte()


@pytest.fixture(scope='module')
def faster():
    return tiny.build(tiny.detector()).eval()


@pytest.fixture(scope='module')
def classifier():
    return tiny_cls.build(tiny_cls.classifier()).eval()


def test_pixels_are_normalised_as_the_model_does(faster, classifier):
    raw = pixels()
    for model, data in (
        (faster, dict(inputs=list(raw), data_samples=None)),
        (classifier, dict(inputs=raw)),
    ):
        expected = model.data_preprocessor(data)['inputs']
        found = Pixels(model.data_preprocessor)(raw.float())
        assert torch.allclose(found, expected, atol=1e-5)
        assert not torch.allclose(expected, raw.float(), atol=1)


def test_channels_are_swapped_where_the_model_swaps_them():
    class Swaps:
        to_rgb = True

    raw = pixels().float()
    assert torch.equal(Pixels(Swaps())(raw), raw.flip(1))


def test_a_classifier_gives_its_logits(classifier):
    (part,) = parts_of(classifier, (32, 32))
    raw = pixels(3, 32)
    with torch.no_grad():
        (found,) = part.module(raw.float())
        answers = classifier.test_step(dict(inputs=raw))
    scores = torch.stack([each.pred_score for each in answers])
    assert torch.allclose(found.softmax(1), scores, atol=1e-6)
    assert (part.name, part.outputs) == ('', ('logits',))


@pytest.mark.parametrize('kind', ['gfl', 'fcos'])
def test_a_one_stage_detector_gives_the_maps_of_its_head(kind):
    model = tiny.build(tiny_dense.detector(kind)).eval()
    (part,) = parts_of(model, SIZE)
    raw = pixels()
    data = dict(inputs=list(raw), data_samples=None)
    with torch.no_grad():
        found = part.module(raw.float())
        expected = list(flat(model(**model.data_preprocessor(data))))
    assert len(found) == len(expected) == len(part.outputs)
    for one, other in zip(found, expected):
        assert torch.allclose(one, other, atol=1e-5)
    kinds = {name.rpartition('_')[0] for name in part.outputs}
    assert kinds == {'cls_score', 'bbox_pred'} | (
        {'centerness'} if kind == 'fcos' else set()
    )


def rois(*sides):
    corner = torch.full((len(sides), 2), 4.0)
    side = torch.tensor(sides).float()[:, None].expand(-1, 2)
    image = torch.zeros(len(sides), 1)
    return torch.cat([image, corner, corner + side], 1)


@pytest.mark.parametrize(
    'sides', [(8, 120, 240, 470), (8, 9), (470,)], ids=str
)
def test_rois_are_read_from_their_level(faster, sides):
    head = faster.roi_head
    maps = [torch.randn(1, 16, 128 // 2**i, 128 // 2**i) for i in range(4)]
    boxes = rois(*sides)
    part = RoIScores(head.bbox_roi_extractor, head.bbox_head)
    with torch.no_grad():
        found = part(boxes, *maps)
        stock = head._bbox_forward(maps, boxes)
    assert torch.allclose(found[0], stock['cls_score'], atol=1e-5)
    assert torch.allclose(found[1], stock['bbox_pred'], atol=1e-5)


def test_the_parts_of_two_stages_give_the_models_boxes(faster):
    """What is left to do outside: boxes of the RPN, RoIs, boxes, NMS."""
    faster.test_cfg.rcnn.score_thr = 0.0
    rpn, roi = parts_of(faster, SIZE)
    assert (rpn.name, roi.name) == ('rpn', 'roi')
    data = faster.data_preprocessor(tiny.batch(1))
    images, samples = tiny.batch(1)['inputs'], data['data_samples']
    metas = [each.metainfo for each in samples]
    with torch.no_grad():
        outputs = dict(
            zip(rpn.outputs, rpn.module(torch.stack(images).float()))
        )
        levels = range(5)
        (proposals,) = faster.rpn_head.predict_by_feat(
            [outputs[f'rpn_cls_score_{i}'] for i in levels],
            [outputs[f'rpn_bbox_pred_{i}'] for i in levels],
            batch_img_metas=metas,
        )
        image = proposals.bboxes.new_zeros(len(proposals), 1)
        boxes = torch.cat([image, proposals.bboxes], 1)
        maps = [outputs[f'neck_{i}'] for i in range(4)]
        scores, deltas = roi.module(boxes, *maps)
        (found,) = faster.roi_head.bbox_head.predict_by_feat(
            (boxes,), (scores,), (deltas,), metas, faster.test_cfg.rcnn
        )
        (expected,) = faster.predict(data['inputs'], samples)
    assert len(found) == len(expected.pred_instances) > 0
    assert torch.allclose(
        found.bboxes, expected.pred_instances.bboxes, atol=1e-3
    )
    assert torch.equal(found.labels, expected.pred_instances.labels)


def test_a_cascade_has_a_part_for_each_stage():
    model = tiny.build(tiny.detector('cascade'))
    names = [part.name for part in parts_of(model, SIZE)]
    assert names == ['rpn', 'roi_0', 'roi_1', 'roi_2']


def test_examples_have_rois_of_every_level(faster):
    _, roi = parts_of(faster, (512, 512))
    boxes, *maps = roi.example(200)
    level = faster.roi_head.bbox_roi_extractor.map_roi_levels(boxes, 4)
    assert set(level.tolist()) >= {0, 1, 2} and len(maps) == 4


@pytest.mark.parametrize(
    'model, size, said',
    [
        (tiny.detector(), (60, 64), '--size 60 64: this model pads its'),
        (tiny_detr.detector('dino'), SIZE, 'DINO: only classifiers, '),
    ],
    ids=['size', 'kind'],
)
def test_what_cannot_be_exported_is_refused(model, size, said):
    with pytest.raises(ValueError, match=said):
        parts_of(tiny_detr.build(model), size)
