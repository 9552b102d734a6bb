"""Levels of two pyramids find each other by their strides."""

import pytest
import tiny
import tiny_dense
import torch

from luminet_mm.distillers import levels
from luminet_mm.losses import ATLoss, CWDLoss, DistillBatch, FGFILoss
from luminet_mm.signals.family import Comparison
from luminet_mm.signals.signal import Signal

SIZE = (128, 192)


def maps(*strides, channels=4, size=SIZE):
    height, width = size
    return tuple(
        torch.rand(2, channels, -(-height // x), -(-width // x))
        for x in strides
    )


def comparison(student='neck', teacher='neck'):
    sides = [
        [Signal(name, name) for name in names.split()]
        for names in (student, teacher)
    ]
    return Comparison('loss_x', sides[0], {0: sides[1]})


def paired(ours, theirs, loss=None, across=False, **names):
    loss = loss or ATLoss()
    levels.pair_levels(loss, comparison(**names), ours, theirs, SIZE, across)
    return loss.levels_of('student'), loss.levels_of('teacher')


def test_pyramids_that_start_at_other_levels_find_each_other():
    ours, theirs = maps(8, 16, 32, 64, 128), maps(4, 8, 16, 32, 64)
    assert paired(ours, theirs) == ((0, 1, 2, 3), (1, 2, 3, 4))
    assert paired(theirs, ours) == ((1, 2, 3, 4), (0, 1, 2, 3))
    assert paired(maps(8, 16, 32), maps(16)) == ((1,), (0,))
    assert paired(maps(16), maps(8, 16, 32)) == ((0,), (1,))


@pytest.mark.parametrize('count', [1, 5])
def test_equal_pyramids_stay_as_they_are(count):
    pyramid = maps(*[4 * 2**i for i in range(count)])
    assert paired(pyramid, pyramid) == (None, None)


def test_what_is_named_is_compared_as_it_is_named():
    ours, theirs = maps(8, 16), maps(4, 8)
    assert paired(ours, theirs, ATLoss(levels=[0])) == ((0,), (0,))
    names = dict(student='neck.0 neck.1', teacher='neck.0 neck.1')
    assert paired(ours, theirs, **names) == (None, None)
    names = dict(student='backbone.layer1', teacher='neck')
    assert paired(ours[0], theirs, **names) == (None, None)


def test_stages_of_a_backbone_are_paired_across_families_alone():
    """Of one family they go by their index, as they always have."""
    names = dict(student='backbone', teacher='backbone')
    ours, theirs = maps(4, 8, 16, 32), maps(16)
    assert paired(ours, theirs, **names) == (None, None)
    assert paired(ours, theirs, across=True, **names) == ((2,), (0,))
    names['student'] = 'neck'
    assert paired(ours, theirs, **names) == ((2,), (0,))


def test_vectors_have_no_levels():
    pooled = (torch.rand(2, 8),)
    assert paired(pooled, maps(32)) == (None, None)
    assert paired(torch.rand(2, 8), maps(32)) == (None, None)


def test_no_shared_level_shows_both_pyramids():
    with pytest.raises(ValueError) as error:
        paired(maps(32, 64), maps(4, 8), teacher='backbone')
    assert (
        'model.distill.loss_x: the pyramids share no level: strides 32, 64 of '
        'the student (neck), 4, 8 of the teacher (backbone). Set levels=[...]'
    ) in str(error.value)


@pytest.mark.parametrize('size', [(128, 128), (96, 160), (64, 64)])
def test_strides_are_measured_whatever_the_size(size):
    """Layers round up, and one place says nothing of the next."""
    expected = [4, 8, 16, 32, 64, 128]
    assert levels.strides(maps(*expected, size=size), size) == expected


def test_a_patch_of_14_pixels():
    (stride,) = levels.strides([torch.zeros(1, 1, 16, 16)], (224, 224))
    assert stride == 14


def test_of_several_maps_with_one_stride_the_deepest_is_taken():
    assert levels.shared([8, 16, 16], [16, 16, 16]) == [(2, 2)]
    assert levels.shared([1, 2], [3]) == []


def test_the_pairs_are_in_the_log(monkeypatch):
    said = []
    monkeypatch.setattr(levels, 'print_log', lambda *args: said.append(args))
    paired(maps(8, 16, 32), maps(4, 8, 16))
    assert said == [
        (
            'model.distill.loss_x: levels are paired by stride: 8, 16 are '
            'compared (strides 8, 16, 32 of the student (neck), 4, 8, 16 of '
            'the teacher (neck)).',
            'current',
        )
    ]


def test_anchors_are_those_of_the_students_level():
    """FGFI's anchors of the second map, not of the first."""
    ours, theirs = maps(4, 8, 16), maps(8, 16)
    loss = FGFILoss()
    paired(ours, theirs, loss)
    loss.build(ours, theirs)
    asked = []

    def priors(sizes):
        asked.append(sizes)
        return [
            torch.full((h * w, 4), float(i)) + torch.tensor([0.0, 0, 9, 9])
            for i, (h, w) in enumerate(sizes)
        ]

    seen = []

    def anchors(priors, sizes, like):
        seen.extend(priors(sizes))
        return FGFILoss._anchors(loss, priors, sizes, like)

    loss._anchors = anchors
    boxes = [torch.tensor([[0.0, 0, 20, 20]])] * 2
    loss(ours, theirs, DistillBatch(boxes=boxes, priors=priors))
    assert [int(each[0, 0]) for each in seen] == [1, 2]
    assert len(asked[0]) == 3


@pytest.mark.parametrize('kind', ['retinanet', 'gfl'])
def test_equal_pyramids_give_the_same_numbers(kind, monkeypatch):
    """Bit for bit what they give where nothing is paired."""

    def loss():
        model = tiny.build(
            tiny_dense.distiller(
                tiny_dense.detector(kind),
                tiny_dense.detector(kind),
                loss_x=dict(type='luminet_mm.CWDLoss', signal='neck'),
            )
        )
        assert isinstance(model.distill.loss_x, CWDLoss)
        data = tiny.prepared(model)
        return model.loss(data['inputs'], data['data_samples'])['loss_x']

    ours = loss()
    monkeypatch.setattr(
        'luminet_mm.distillers.connectors.pair_levels', lambda *args: None
    )
    assert torch.equal(ours, loss())
