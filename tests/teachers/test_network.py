"""Networks of teachers are built in their scope, and are whole models."""

import pytest
import torch
from mmengine.config import Config

from luminet_mm.teachers.network import build_network, scope_of

RESNET = dict(
    type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8
)


def classifier():
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=RESNET,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=64),
    )


@pytest.mark.parametrize(
    ('cfg', 'scope'),
    [
        (dict(model=dict(type='FasterRCNN')), 'mmdet'),
        (dict(model=dict(type='mmpretrain.ImageClassifier')), 'mmpretrain'),
        (dict(model=dict(type='luminet_mm.BackboneModel')), 'mmdet'),
        (
            dict(model=dict(type='mmdet.GFL'), default_scope='mmpretrain'),
            'mmpretrain',
        ),
    ],
)
def test_the_type_of_a_block_says_where_its_parts_are(cfg, scope):
    assert scope_of(Config(cfg), 'mmdet') == scope


def test_a_classifier_is_built_beside_a_detector():
    """Its preprocessor and its head are those of MMPretrain."""
    cfg = Config(dict(model=classifier()))
    before = torch.get_rng_state()
    model = build_network(cfg.model, scope_of(cfg, 'mmdet'))
    assert torch.equal(torch.get_rng_state(), before)
    assert model.head.num_classes == 3


def test_a_backbone_alone_is_told_how_to_teach():
    with pytest.raises(ValueError) as error:
        build_network(RESNET, 'mmdet')
    said = str(error.value)
    assert said.startswith('teacher.config: ResNet is a part of a model.')
    assert "'luminet_mm.BackboneModel', backbone=dict(type='mmpret" in said
