"""Signals of DETRs: names, what runs for one, queries, masks."""

import pytest
import tiny_dense
import tiny_detr
import torch

from luminet_mm.losses import Decoder
from luminet_mm.signals.detr import DETRFamily
from luminet_mm.signals.family import Question

FAMILY = DETRFamily()
PARTS = ('backbone', 'neck', 'encoder', 'decoder', 'bbox_head')


@pytest.fixture(scope='module', params=tiny_detr.KINDS)
def model(request):
    return tiny_detr.build(tiny_detr.detector(request.param)).eval()


@pytest.fixture(scope='module')
def dino():
    return tiny_detr.build(tiny_detr.detector('dino')).eval()


def find(model, *names):
    return [FAMILY.find(model, name, 'teacher') for name in names]


def ahead(model, images, *names):
    with torch.no_grad():
        return FAMILY.ahead(model, images, find(model, *names))


def test_names():
    for kind in ('dino', 'detr'):
        model = tiny_detr.build(tiny_detr.detector(kind))
        names = ['backbone', 'neck', 'encoder', 'cls_score', 'bbox_pred']
        assert FAMILY.names(model) == names + ['queries'] * (kind == 'dino')
        path = FAMILY.find(model, 'decoder.layers.0', 'student')
        assert (path.part, path.path) == ('decoder', 'decoder.layers.0')
        with pytest.raises(ValueError, match="Did you mean 'cls_score'"):
            FAMILY.find(model, 'cls_scores', 'student')


def test_shapes_of_every_kind(model):
    images = torch.rand(2, 3, 64, 96)
    found = ahead(model, images, 'neck', 'encoder', 'cls_score', 'bbox_pred')
    maps = found['neck']
    assert [m.shape for m in maps] == [m.shape for m in found['encoder']]
    columns = model.bbox_head.cls_out_channels
    for name, numbers in (('cls_score', columns), ('bbox_pred', 4)):
        shapes = [tuple(layer.shape) for layer in found[name]]
        assert shapes == [(2, 20, numbers)] * 2


def test_predictions_are_those_of_the_stock_pass(model):
    images = torch.rand(2, 3, 64, 64)
    from luminet_mm.signals.detr_record import stand_ins

    found = ahead(model, images, 'cls_score', 'bbox_pred')
    with torch.no_grad():
        stock = model._forward(images, stand_ins(images, None))
    for ours, theirs in zip(found.values(), stock):
        assert torch.equal(torch.stack(ours), theirs)


@pytest.mark.parametrize(
    ('name', 'runs'),
    [
        ('backbone.layer2', 1),
        ('neck', 2),
        ('encoder', 3),
        ('encoder.layers.0', 3),
        ('queries', 3),
        ('decoder.layers.0', 4),
        ('bbox_pred', 5),
    ],
)
def test_only_what_a_signal_needs_runs(dino, name, runs):
    ran = []
    handles = [
        getattr(dino, part).register_forward_hook(
            lambda *_, part=part: ran.append(part)
        )
        for part in PARTS
    ]
    found = ahead(dino, torch.rand(2, 3, 64, 64), name)
    for handle in handles:
        handle.remove()
    assert list(found) == [name] and tuple(ran) == PARTS[:runs]
    assert not set(vars(dino)) & {'forward_decoder', 'pre_transformer'}
    assert 'split_outputs' not in vars(dino.bbox_head)


def test_what_is_padded_is_masked(dino):
    """A teacher sees how large images are, as the student's samples say."""
    images = torch.zeros(2, 3, 64, 96)
    images[:, :, :, :64] = torch.rand(2, 3, 64, 64)
    sizes = [(64, 64), (64, 96)]
    signals = find(dino, 'queries')
    with torch.no_grad():
        found = FAMILY.ahead_padded(dino, images, sizes, signals)
    mask = found['queries'].inputs['memory_mask']
    assert mask[0].any() and not mask[1].any()
    ratios = found['queries'].inputs['valid_ratios']
    assert ratios[0, 0].tolist() == pytest.approx([2 / 3, 1.0], abs=0.01)


@pytest.mark.parametrize('kind', tiny_detr.POINTS)
def test_a_decoder_answers_about_any_points(kind):
    model = tiny_detr.build(tiny_detr.detector(kind)).eval()
    decoder = ahead(model, torch.rand(2, 3, 64, 64), 'queries')['queries']
    assert isinstance(decoder, Decoder)
    assert decoder.points.shape == (2, 20, 2 if kind == 'deformable' else 4)
    points = torch.rand(2, 7, 4) / 2 + 0.25
    with torch.no_grad():
        logits, boxes = decoder.ask(points)
        order = torch.randperm(7)
        again, _ = decoder.ask(points[:, order])
    assert [tuple(x.shape) for x in logits] == [(2, 7, 4)] * 2
    # row j is about point j, wherever it stands
    torch.testing.assert_close(
        again[-1], logits[-1][:, order], rtol=1e-4, atol=1e-5
    )
    # heads start at an offset of 0, so a box begins at its point
    found = boxes[0][..., :2]
    assert (found - points[..., :2]).abs().max() < 0.25


@pytest.mark.parametrize('kind', ['dino', 'detr'])
def test_dry_runs_do_not_hang_on_the_order_of_proposals(kind):
    model = tiny_detr.build(tiny_detr.detector(kind)).eval()
    signals = find(model, 'cls_score', 'bbox_pred', 'neck')
    if kind == 'dino':
        signals += find(model, 'queries')
    questions = [Question(signals, signals)]
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        (values,) = FAMILY.dry(model, questions, images)
        if kind == 'dino':  # other proposals come first
            last = model.bbox_head.cls_branches[-1]
            last.weight.neg_()
        (again,) = FAMILY.dry(model, questions, images)
    for ours, theirs in zip(values, again, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)


def test_the_same_things_have_to_be_compared(dino):
    classes, boxes = (find(dino, name) for name in ('cls_score', 'bbox_pred'))
    with pytest.raises(ValueError, match='are different things'):
        FAMILY.check('loss_x', dino, classes, dino, boxes)
    neck, encoder = (find(dino, name) for name in ('neck', 'encoder'))
    FAMILY.check('loss_x', dino, neck, dino, encoder)


def test_activation_and_classes():
    for kind, activation in (('dino', 'sigmoid'), ('detr', 'softmax')):
        model = tiny_detr.build(tiny_detr.detector(kind))
        classes = find(model, 'cls_score')
        assert FAMILY.activation(model, classes) == activation
        assert FAMILY.num_classes(model, classes) == 4
        assert FAMILY.activation(model, find(model, 'neck')) == ''
    points = find(tiny_detr.build(tiny_detr.detector('dab')), 'queries')
    assert FAMILY.activation(model, points) == 'softmax'


def test_other_detectors_have_maps_alone():
    model = tiny_dense.build(tiny_dense.detector())
    assert FAMILY.names(model) == ['backbone', 'neck']
    assert FAMILY.find(model, 'neck', 'teacher').part == 'neck'
    for name in ('cls_score', 'bbox_head.cls_convs.0'):
        with pytest.raises(ValueError, match='teacher: RetinaNet is not a DE'):
            FAMILY.find(model, name, 'teacher')
