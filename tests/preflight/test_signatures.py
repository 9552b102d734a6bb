"""What a class takes, and the class that a block names."""

import inspect

import pytest
import torch
from mmdet.models import ResNet

from luminet_mm.preflight.models import block_problems
from luminet_mm.preflight.signatures import (
    find_class,
    is_exact,
    missing_options,
    names_in,
    options,
    unknown_options,
    unknown_type,
)
from luminet_mm.registry import MODELS

CONV = list(inspect.signature(torch.nn.Conv2d).parameters)


def test_options_that_a_foreign_class_looks_for_by_hand():
    """`**kwargs` of a stock class: only what is nearly a name is refused."""
    head = dict(type='RPNHead', in_channels=8, feat_channel=8, mine=1)
    lines = block_problems(
        dict(
            type='RPN',
            backbone=dict(type='ResNet', depth=18),
            neck=None,
            rpn_head=head,
            train_cfg=None,
            test_cfg=None,
        ),
        'model',
        'mmdet',
    )
    assert len(lines) == 1
    assert "feat_channel: RPNHead has no option 'feat_channel'" in lines[0]


class Base:
    def __init__(self, depth, width=3, *args, **kwargs):
        pass


class Passes(Base):
    def __init__(self, *, extra, **kwargs):
        super().__init__(**kwargs)


class Exact(Base):
    def __init__(self, size):
        super().__init__(1)


@pytest.mark.parametrize(
    'cls, names, more',
    [
        (Base, ['depth', 'width'], True),
        (Passes, ['extra', 'depth', 'width'], True),
        (Exact, ['size'], False),
        (torch.nn.Conv2d, CONV, False),
    ],
)
def test_options_of_bases_are_taken_too(cls, names, more):
    found, takes_more = options(cls)
    assert list(found) == names and takes_more == more
    assert is_exact(cls) == (cls not in (Base, Passes))


def test_what_is_unknown_and_what_is_missing():
    block = dict(type='Exact', siz=3, _scope_='mmdet', mine=1)
    (line,) = unknown_options('model.a', Exact, block, also=['mine'])
    assert line == (
        "model.a.siz: Exact has no option 'siz'; did you mean 'size'? It has "
        'size'
    )
    assert missing_options('model.a', Exact, block) == [
        'model.a.size: missing; Exact needs it'
    ]
    assert not missing_options('model.a', Exact, block, given=['size'])
    # a class may look into its **kwargs by hand
    assert not unknown_options('model.a', Base, dict(colour=1))
    assert unknown_options('model.a', Base, dict(dept=1))


@pytest.mark.parametrize(
    'kind, scope, own_scope, found',
    [
        ('ResNet', 'mmdet', None, ResNet),
        ('mmdet.ResNet', 'mmpretrain', None, ResNet),
        ('ResNet', 'mmpretrain', 'mmdet', ResNet),
        (ResNet, None, None, ResNet),
        ('NotThere', 'mmdet', None, None),
        ('not_a_scope.ResNet', 'mmdet', None, None),
        (5, 'mmdet', None, None),
        ('ResNet', 5, 'mmdet', ResNet),
    ],
)
def test_the_class_of_a_type(kind, scope, own_scope, found):
    assert find_class(kind, MODELS, scope, own_scope) is found


def test_a_type_that_stands_for_nothing():
    assert unknown_type(
        'a', None, MODELS, []
    ) == 'a.type: missing; name a ' + ('class')
    assert 'a.type: 5 is not the name of' in unknown_type('a', 5, MODELS, [])
    line = unknown_type('a', 'ResNett', MODELS, ['ResNet'], 'backbone')
    assert "'ResNett' is not a registered backbone; did you mean" in line
    assert 'custom_imports' in line
    # it is there, in another scope
    line = unknown_type('a', 'KDLoss', MODELS, [])
    assert "did you mean 'luminet_mm.KDLoss'?" in line


def test_names_of_a_scope_and_of_its_parents():
    found = names_in(MODELS, 'mmdet', ResNet)
    assert 'ResNet' in found and 'FasterRCNN' not in found
    assert 'LumiNetLoss' in names_in(MODELS, 'luminet_mm')
