"""A dense head run from the middle gives what it gives as a whole."""

import pytest
import tiny_dense
import torch

from luminet_mm.models.cross_heads import CUT, CrossHead, published_signals
from luminet_mm.signals.one_stage import OneStage

FAMILY = OneStage()
FORMS = dict(
    retinanet='deltas',
    atss='deltas',
    fcos='distances',
    fcos_strides='distances',
    gfl='bins',
)


def names(place):
    return [f'bbox_head.{x}_convs.{place}.preact' for x in ('cls', 'reg')]


def detector(kind):
    model = tiny_dense.detector(kind)
    model.bbox_head.stacked_convs = 3
    return tiny_dense.build(model)


@pytest.mark.parametrize('kind', FORMS)
@pytest.mark.parametrize('place', [0, 2])
def test_predictions_are_the_heads_own(kind, place):
    model = detector(kind)
    head = CrossHead(model, names(place), 'teacher', shared=True)
    assert head.form == FORMS[kind] and head.widths == [32, 32]
    for level, scale in enumerate(getattr(model.bbox_head, 'scales', [])):
        scale.scale.data.fill_(1 + level / 4)
    data = tiny_dense.prepared(model)
    asked = [
        *names(place),
        'cls_score',
        'bbox_pred',
        *(['centerness'] if kind == 'atss' else []),
    ]
    signals = [FAMILY.find(model, name, 'teacher') for name in asked]
    with torch.no_grad():
        ahead = FAMILY.ahead(model, data['inputs'], signals)
        maps = [ahead[name] for name in asked]
        for level, (classes, boxes, *whole) in enumerate(zip(*maps)):
            kept = classes.clone()
            crossed = head.predict(level, classes, boxes)
            # an activation in place leaves the map as it was
            assert torch.equal(classes, kept) and (classes < 0).any()
            torch.testing.assert_close(crossed, whole)


def test_a_head_in_eval_mode_predicts_as_in_training():
    """A teacher's: FCOS with norm_on_bbox gives pixels there."""
    model = detector('fcos_strides')
    head = CrossHead(model, names(2), 'teacher', shared=True)
    maps = torch.randn(2, 1, 32, 4, 4)
    with torch.no_grad():
        training = head.predict(3, *maps)
        model.eval()
        torch.testing.assert_close(head.predict(3, *maps), training)


def test_heads_and_names_that_are_refused():
    model = detector('retinanet')
    with pytest.raises(ValueError, match=r"student are \['neck'\]; name"):
        CrossHead(model, ['neck'], 'student', shared=False)
    with pytest.raises(ValueError, match='before the activation of a conv'):
        CrossHead(model, names(0)[::-1], 'student', shared=False)
    other = tiny_dense.build(tiny_dense.detector('rtmdet'))
    with pytest.raises(ValueError, match=r'\(RTMDetSepBNHead\) cannot be run'):
        CrossHead(other, names(0), 'teacher', shared=True)
    with pytest.raises(ValueError, match=r'teacher \(NoneType\) cannot be'):
        CrossHead(torch.nn.Identity(), names(0), 'teacher', shared=True)


@pytest.mark.parametrize(
    ('convolutions', 'places'), [(4, [2, 2, 1, 2]), (2, [0] * 4), (1, [0] * 4)]
)
def test_as_many_convolutions_follow_as_in_the_published_head(
    convolutions, places
):
    for head, place in zip(CUT, places):
        maps = published_signals(head, convolutions)[:2]
        assert maps == names(place)


def test_a_head_that_cannot_be_cut_has_no_signals():
    assert published_signals(torch.nn.Identity, 4) == []
    assert published_signals(CUT[0], 0) == []
