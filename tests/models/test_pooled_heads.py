"""Classify cells of a map as the whole map is classified."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.models.pooled_heads import PooledHead


def built(config, scope='mmpretrain'):
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(config).eval()


def test_a_cell_is_classified_as_a_map_of_it_is():
    model = built(tiny_cls.classifier())
    head = PooledHead(model, 'student')
    cells = torch.rand(2, 3, 64)
    maps = cells.flatten(0, 1)[:, :, None, None].expand(-1, -1, 4, 4)
    expected = model.head(model.neck((maps,)))
    torch.testing.assert_close(head.classify(cells).flatten(0, 1), expected)
    assert head.classify(cells.double()).dtype == torch.float64
    # looked up when it runs
    model.head.fc = torch.nn.Linear(64, 7, bias=False)
    assert head.classify(cells).shape == (2, 3, 7)
    assert head.num_classes == 7


@pytest.mark.parametrize('shared', [False, True])
def test_a_copy_has_its_own_network_unless_it_is_shared(shared):
    head = PooledHead(built(tiny_cls.classifier()), 'teacher', shared)
    assert (copy.deepcopy(head).model is head.model) == shared


def changed(**parts):
    config = tiny_cls.classifier()
    for key, value in parts.items():
        config[key] = {**(config[key] or {}), **value} if value else None
    return config


@pytest.mark.parametrize(
    'config',
    [
        changed(
            head=dict(type='mmpretrain.CSRAClsHead', num_heads=1, lam=0.1)
        ),
        changed(
            head=dict(type='mmpretrain.StackedLinearClsHead', mid_channels=[8])
        ),
        changed(neck=dict(dim=1)),
        changed(neck=dict(type='mmpretrain.GeneralizedMeanPooling', p=2.0)),
        tiny_cls.classifier('vit'),
    ],
    ids=['csra', 'stacked', 'of one dimension', 'gem', 'vit'],
)
def test_other_classifiers_are_refused(config):
    with pytest.raises(ValueError, match='the teacher .* does not classify'):
        PooledHead(built(config), 'teacher')


def test_a_detector_is_refused():
    model = built(tiny.detector('faster'), 'mmdet')
    with pytest.raises(ValueError, match=r'the student \(FasterRCNN'):
        PooledHead(model, 'student')
