"""Which DETRs can be compared, and how a point enters each decoder."""

import pytest
import tiny_detr
import torch

from luminet_mm.signals.detr_heads import (
    check_points,
    check_queries,
    coordinates,
    decoder_inputs,
    own_points,
    point_size,
    uses_sigmoid,
    why_no_queries,
    why_not_a_detr,
)

COORDINATES = dict(
    deformable=2, two_stage=4, dino=4, dab=4, conditional=0, detr=0
)


def build(kind):
    return tiny_detr.build(tiny_detr.detector(kind)).eval()


@pytest.fixture(scope='module')
def models():
    return {kind: build(kind) for kind in tiny_detr.KINDS}


@pytest.mark.parametrize('kind', tiny_detr.KINDS)
def test_kinds(models, kind):
    model = models[kind]
    assert why_not_a_detr(model) == ''
    assert coordinates(model) == COORDINATES[kind]
    assert uses_sigmoid(model.bbox_head) == (kind in tiny_detr.SIGMOID)


def test_a_detr_with_a_loss_of_its_own_is_refused():
    ddq = build('ddq')
    with pytest.raises(ValueError, match='of the student: DDQDETR with DDQDE'):
        check_queries(ddq, 'cls_score', 'student')
    assert coordinates(ddq) == 0


def test_classes_are_asked_before_they_are_built(models):
    for kind, model in models.items():
        assert why_no_queries(type(model), type(model.bbox_head)) == ''
        two_stage = kind in ('two_stage', 'dino')
        assert point_size(type(model), 4, two_stage) == COORDINATES[kind]
    assert 'is not a DETR' in why_no_queries(object, object)


@pytest.mark.parametrize('kind', ['conditional', 'detr'])
def test_queries_without_points_are_refused(models, kind):
    check_queries(models[kind], 'cls_score', 'student')
    with pytest.raises(ValueError, match='without points.*DETRDistillLoss'):
        check_queries(models[kind], 'queries', 'student')
    assert own_points(models[kind], {}) is None


def test_points_need_the_sizes_that_the_student_reads(models):
    check_points('loss_x', models['deformable'], models['dino'], 'teacher')
    with pytest.raises(
        ValueError, match=r'loss_x: .*\(DINO\) have 4 coord.*DETR\) 2'
    ):
        check_points('loss_x', models['dino'], models['deformable'], 'teacher')


def inputs(model, points):
    return decoder_inputs(model, dict(memory=torch.zeros(2, 5, 32)), points)


@pytest.mark.parametrize('kind', tiny_detr.POINTS)
def test_content_queries_are_0(models, kind):
    model = models[kind]
    points = torch.rand(2, 3, 4)
    memory = torch.zeros(2, 5, model.embed_dims)
    given = decoder_inputs(model, dict(memory=memory, other=1), points)
    assert given['other'] == 1 and given['memory'] is memory
    assert given['query'].shape == (2, 3, model.embed_dims)
    assert not given['query'].any()


def test_dab_detr_reads_places_before_the_sigmoid(models):
    points = torch.rand(2, 3, 4)
    given = inputs(models['dab'], points)
    torch.testing.assert_close(given['query_pos'].sigmoid(), points)
    found = own_points(models['dab'], dict(query_pos=given['query_pos']))
    torch.testing.assert_close(found, points)


def test_dino_reads_boxes_without_denoising(models):
    points = torch.rand(2, 3, 4)
    given = inputs(models['dino'], points)
    assert torch.equal(given['reference_points'], points)
    assert given['dn_mask'] is None
    reference = torch.rand(2, 24, 4)  # denoising queries come first
    found = own_points(models['dino'], dict(reference_points=reference))
    assert torch.equal(found, reference[:, -20:])


def test_a_two_stage_detr_embeds_points_as_its_proposals(models):
    model = models['two_stage']
    seen = {}
    stock = model.forward_decoder
    model.forward_decoder = lambda **kw: seen.update(kw) or stock(**kw)
    images = torch.rand(1, 3, 64, 64)
    from luminet_mm.signals.detr_record import stand_ins

    with torch.no_grad():
        model._forward(images, stand_ins(images, None))
        given = decoder_inputs(model, seen, seen['reference_points'])
    del model.forward_decoder
    torch.testing.assert_close(
        given['query_pos'], seen['query_pos'], rtol=1e-3, atol=1e-3
    )


def test_deformable_detr_finds_the_embedding_of_the_nearest_query(models):
    model = models['deformable']
    known = model.query_embedding.weight[:, :32]
    with torch.no_grad():
        places = model.reference_points_fc(known).sigmoid()
    points = places.expand(2, -1, -1)
    given = inputs(model, torch.cat([points, points], dim=2))
    assert torch.equal(given['reference_points'], points)
    assert torch.equal(given['query_pos'][1], known)
    # learned embeddings learn from points as well
    given['query_pos'].sum().backward()
    assert model.query_embedding.weight.grad[:, :32].abs().sum() > 0
