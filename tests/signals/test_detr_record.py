"""What a training pass of a DETR leaves behind."""

import pytest
import tiny_detr
import torch

from luminet_mm.signals.detr import DETRFamily
from luminet_mm.signals.detr_record import (
    memory_maps,
    stand_ins,
)
from luminet_mm.signals.signal import overridden

FAMILY = DETRFamily()


def recorded(kind, *names):
    model = tiny_detr.build(tiny_detr.detector(kind))
    data = tiny_detr.prepared(model)
    signals = [FAMILY.find(model, name, 'student') for name in names]
    args = data['inputs'], data['data_samples']
    with FAMILY.record(model, signals, *args) as record:
        model.loss(*args)
    return model, record, [record.read(signal) for signal in signals]


@pytest.mark.parametrize('kind', tiny_detr.KINDS)
def test_predictions_of_all_layers_are_without_denoising(kind):
    model, _, (classes, boxes) = recorded(kind, 'cls_score', 'bbox_pred')
    columns = model.bbox_head.cls_out_channels
    assert [tuple(x.shape) for x in classes] == [(2, 20, columns)] * 2
    assert [tuple(x.shape) for x in boxes] == [(2, 20, 4)] * 2
    assert all(x.requires_grad for x in (*classes, *boxes))


def test_denoising_queries_are_there_and_come_first():
    _, record, (decoder, classes) = recorded('dino', 'queries', 'cls_score')
    inputs = record.tapped.inputs
    assert inputs['query'].shape[1] > 20
    assert inputs['dn_mask'] is not None
    assert torch.equal(decoder.points, inputs['reference_points'][:, -20:])
    assert classes[0].shape[1] == 20


def test_no_tap_stays_behind():
    model, *_ = recorded('dino', 'queries', 'cls_score', 'neck')
    assert not set(vars(model)) & {'forward_decoder', 'pre_transformer'}
    assert 'split_outputs' not in vars(model.bbox_head)
    assert not model.bbox_head._forward_hooks and not model.neck._forward_hooks


def test_maps_of_the_encoder_have_the_places_of_the_necks():
    _, record, (maps, memory) = recorded('deformable', 'encoder', 'encoder')
    found = record.tapped.inputs['memory']
    assert maps[0].shape[-2:] == (8, 8) and len(maps) == 4
    assert torch.equal(maps[0][1, :, 2, 5], found[1, 2 * 8 + 5])
    assert torch.equal(maps[1][0, :, 0, 1], found[0, 64 + 1])
    assert memory[0].requires_grad


def test_detr_has_one_map():
    maps = memory_maps(torch.arange(12.0).view(1, 12, 1), [(3, 4)])
    assert maps[0].shape == (1, 1, 3, 4) and maps[0][0, 0, 1, 2] == 6


def test_boxes_and_sizes_of_the_images():
    model, record, _ = recorded('deformable', 'cls_score')
    batch = record.batch([])
    assert record.objects() == sum(map(len, batch.boxes)) > 0
    assert batch.image_shapes == [(64, 64), (64, 48)]
    assert [len(boxes) for boxes in batch.boxes] == [3, 3]
    assert batch.priors is None


def test_an_extra_pass_has_a_gradient():
    model, _, (decoder,) = recorded('deformable', 'queries')
    logits, boxes = decoder.ask(torch.rand(2, 5, 4))
    (logits[-1].sum() + boxes[-1].sum()).backward()
    for part in (model.backbone, model.encoder, model.decoder):
        grads = [p.grad for p in part.parameters() if p.grad is not None]
        assert any(grad.abs().sum() > 0 for grad in grads)


def test_samples_say_what_is_padded():
    images = torch.zeros(2, 3, 32, 64)
    one, other = stand_ins(images, [(32, 64), (16, 64)])
    assert one.batch_input_shape == other.batch_input_shape == (32, 64)
    assert other.img_shape == (16, 64)
    assert [s.img_shape for s in stand_ins(images, None)] == [(32, 64)] * 2


def test_an_override_ends_with_its_block():
    class Owner:
        def method(self, x):
            return x

    def method(stock, x):
        return stock(x) + 1

    owner = Owner()
    with overridden(owner, method):
        assert owner.method(1) == 2
    assert owner.method(1) == 1 and not vars(owner)
