"""What a one-stage detector's pass leaves: rows, labels, boxes."""

import pytest
import tiny_dense
import torch

from luminet_mm.signals.dense_record import DenseRecord, level_rows
from luminet_mm.signals.one_stage import OneStage

FAMILY = OneStage()


@pytest.mark.parametrize('kind', tiny_dense.KINDS)
def test_labels_of_every_head(kind):
    model = tiny_dense.build(tiny_dense.detector(kind))
    data = tiny_dense.prepared(model)
    inputs, samples = data['inputs'], data['data_samples']
    signals = [FAMILY.find(model, 'cls_score', 'student')]
    with FAMILY.record(model, signals, inputs, samples) as record:
        model.loss(inputs, samples)
    batch = record.batch(signals)
    rows = record.value(signals)
    assert [len(x) for x in batch.points.labels] == [len(x) for x in rows]
    assert [len(x) for x in batch.points.weights] == [len(x) for x in rows]
    labels = torch.cat(batch.points.labels)
    assert batch.no_object == 4 and 0 <= labels.min() <= labels.max() <= 4
    found = ((labels >= 0) & (labels < 4)).sum()
    assert batch.points.num_pos == max(found, 1)
    assert len(batch.boxes) == len(inputs)
    anchors = hasattr(model.bbox_head.prior_generator, 'base_anchors')
    assert (batch.priors is not None) == anchors
    assert 'get_targets' not in vars(model.bbox_head)


def test_objects_are_counted_once_for_all_losses(monkeypatch):
    """Each count is a message to all ranks."""
    counts = []

    def count(tensor):
        counts.append(tensor)
        return tensor

    monkeypatch.setattr('luminet_mm.signals.dense_record.global_sum', count)
    model = tiny_dense.build(tiny_dense.detector())
    data = tiny_dense.prepared(model)
    inputs, samples = data['inputs'], data['data_samples']
    signals = [FAMILY.find(model, 'cls_score', 'student')]
    found = []
    for _ in range(2):
        with FAMILY.record(model, signals, inputs, samples) as record:
            model.loss(inputs, samples)
        found += [record.batch(signals).points.num_pos for _ in range(3)]
    assert len(counts) == 2 and len(set(map(float, found))) == 1


def test_of_maps_nothing_is_known_of_points():
    model = tiny_dense.build(tiny_dense.detector())
    data = tiny_dense.prepared(model)
    signals = [FAMILY.find(model, 'neck', 'student')]
    record = DenseRecord(model, data['inputs'], data['data_samples'])
    batch = record.batch(signals)
    assert batch.points is None and batch.input_shape == (64, 64)


def test_a_head_that_assigns_nothing_is_named():
    model = tiny_dense.build(tiny_dense.detector())
    data = tiny_dense.prepared(model)
    signal = FAMILY.find(model, 'cls_score', 'student')
    record = DenseRecord(model, data['inputs'], data['data_samples'])
    record.values['cls_score'] = [torch.zeros(2, 36, 8, 8)]
    with pytest.raises(RuntimeError, match="'cls_score': the bbox_head"):
        record.batch([signal])


def test_distances_of_an_eval_head_are_in_strides_again():
    model = tiny_dense.build(tiny_dense.detector('fcos_strides'))
    signal = FAMILY.find(model, 'bbox_pred', 'teacher')
    maps = [torch.ones(1, 4, 2, 2) * stride for stride in (8, 16, 32, 64, 128)]
    model.eval()
    rows = level_rows(model.bbox_head, signal, maps)
    assert all((each == 1).all() for each in rows)
    model.train()
    rows = level_rows(model.bbox_head, signal, maps)
    assert [each[0, 0].item() for each in rows] == [8, 16, 32, 64, 128]


def test_priors_boxes_and_centerness_of_points():
    """Those that the heads' own losses compute."""
    from mmdet.models.dense_heads import FCOSHead

    for kind in ('gfl', 'fcos', 'rtmdet'):
        model = tiny_dense.build(tiny_dense.detector(kind))
        data = tiny_dense.prepared(model)
        inputs, samples = data['inputs'], data['data_samples']
        signals = [FAMILY.find(model, 'cls_score', 'student')]
        head = model.bbox_head
        seen = []
        if kind == 'fcos':
            own = FCOSHead.centerness_target
            head.centerness_target = lambda x, own=own, seen=seen, head=head: (
                seen.append(own(head, x)) or seen[-1]
            )
        with FAMILY.record(model, signals, inputs, samples) as record:
            model.loss(inputs, samples)
        points = record.batch(signals).points
        assert points.images == 2
        for boxes, sample in zip(points.boxes, samples):
            assert torch.equal(boxes, sample.gt_instances.bboxes)
        if kind == 'gfl':
            sizes = [len(points.priors(level)) for level in range(5)]
            assert sizes == [len(x) // 2 for x in points.labels]
            assert points.priors(1).shape[1] == 4
        else:
            assert points.priors is None
        if kind == 'fcos':
            total = seen[0].sum().clamp(min=1)
            torch.testing.assert_close(points.centerness(), total)
            assert total > 1
        else:
            assert points.centerness is None
