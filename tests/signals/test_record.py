"""Values of what was recorded, and where gradients are measured."""

import tiny_dense
import torch

from luminet_mm.losses import DistillBatch
from luminet_mm.signals.one_stage import OneStage
from luminet_mm.signals.record import Record
from luminet_mm.signals.signal import Signal

LOGITS, MAPS = Signal('logits', 'head', 'logits'), Signal('neck', 'neck')


class Said(Record):
    def read(self, signal):
        return signal.name

    def batch(self, signals):
        return DistillBatch()


def test_one_value_comes_alone_and_several_as_a_tuple():
    assert Said().value([MAPS]) == 'neck'
    assert Said().objects() is None
    assert Said().value([MAPS, LOGITS]) == ('neck', 'logits')


def test_a_signal_is_its_own_origin_unless_it_is_made_of_something():
    assert Said().origin(MAPS) == 'neck'
    model = tiny_dense.build(tiny_dense.detector())
    signal = OneStage().find(model, 'cls_score', 'student')
    images = torch.rand(1, 3, 64, 64)
    with OneStage().record(model, [signal], images, []) as record:
        maps = model.bbox_head(model.extract_feat(images))[0]
    for own, recorded, rows in zip(
        maps, record.origin(signal), record.read(signal)
    ):
        assert recorded._base is own
        assert rows.shape[0] * rows.shape[1] == own.numel()
