"""Which losses a cache can serve, told from the config alone."""

import pytest

from luminet_mm.distillers.caches import cache_problems, names_of

CACHED = dict(config='a.py', checkpoint='a.pth', cache='a')
LIVE = dict(config='b.py', checkpoint='b.pth')


def loss(kind, signal, **kwargs):
    return dict(type=f'luminet_mm.{kind}Loss', signal=signal, **kwargs)


@pytest.mark.parametrize(
    ('kind', 'entry'),
    [
        ('logits', loss('KD', 'logits')),
        ('logits', loss('PKD', 'backbone', teachers=[1])),
        ('boxes', loss('KD', 'roi.cls_score')),
        ('boxes', loss('LumiNet', 'roi.cls_score')),
        ('boxes', loss('DIST', ['roi.cls_score'])),
        ('boxes', loss('RoIBox', ['roi.cls_score', 'roi.bbox_pred'])),
        ('boxes', loss('NoSuch', 'roi.cls_score')),
    ],
)
def test_what_a_cache_serves(kind, entry):
    teachers = [CACHED] if kind == 'boxes' else [CACHED, LIVE]
    assert cache_problems(teachers, dict(loss_x=entry), kind) == []
    assert cache_problems([LIVE, LIVE], dict(loss_x=entry), kind) == []


@pytest.mark.parametrize(
    ('kind', 'entry', 'message'),
    [
        ('logits', loss('PKD', 'logits'), 'PKDLoss does not compare logits'),
        ('logits', loss('KD', 'feats'), "it reads 'feats' of the teacher"),
        ('boxes', loss('KD', 'logits'), "it reads 'logits' of the teacher"),
        ('boxes', loss('FGD', 'neck'), "it reads 'neck' of the teacher"),
        ('boxes', loss('MaskKD', 'roi.mask'), "it reads 'roi.mask' of the t"),
        ('boxes', loss('PKD', 'roi.cls_score'), 'compares neither logits nor'),
        (
            'boxes',
            loss('BCKD', ['rpn.objectness', 'rpn.deltas']),
            "it reads 'rpn.objectness', 'rpn.deltas' of the teacher",
        ),
    ],
)
def test_what_it_does_not_serve_is_named_with_the_fix(kind, entry, message):
    (line,) = cache_problems([CACHED], dict(loss_x=entry), kind)
    assert line.startswith('model.distill.loss_x: ') and message in line
    assert line.endswith('remove `cache` from the teacher, or the loss')


def test_a_cache_of_boxes_is_the_only_teacher():
    entry = loss('KD', 'roi.cls_score')
    (line,) = cache_problems([CACHED, LIVE], dict(loss_x=entry), 'boxes')
    assert line.startswith('model.teacher: it lists 2 teachers')


def test_names():
    assert names_of('a') == ('a',) and names_of(['a', 'b']) == ('a', 'b')
    assert names_of(None) == names_of([1]) == names_of(['']) == ()
