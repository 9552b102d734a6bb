"""A block's type is the same however a config writes it."""

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyObject
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import DATASETS

from luminet_mm.config_types import (
    PRETRAINED,
    is_of_library,
    is_type,
    owner_of,
    type_name,
    type_package,
    type_text,
)
from luminet_mm.datasets.replay import ReplayDataset

NAME = 'luminet_mm.ReplayDataset'
LAZY = LazyObject('luminet_mm.datasets', 'ReplayDataset', 'here')


class OwnReplay(ReplayDataset):
    """A subclass is one, too."""


@pytest.mark.parametrize(
    'kind',
    [
        'ReplayDataset',
        NAME,
        'luminet_mm.datasets.ReplayDataset',
        'luminet_mm.datasets.replay.ReplayDataset',
        ReplayDataset,
        OwnReplay,
        LAZY,
    ],
)
def test_every_form_of_a_type(kind):
    for block in (dict(type=kind), ConfigDict(type=kind)):
        assert is_type(block, NAME)
        assert is_type(block, 'mmdet.CocoDataset', NAME)
        assert not is_type(block, 'luminet_mm.ReplaySampler')
    if kind is not OwnReplay:
        assert type_name(dict(type=kind)) == 'ReplayDataset'
    if kind not in ('ReplayDataset', OwnReplay):
        assert type_package(dict(type=kind)) == 'luminet_mm'


@pytest.mark.parametrize(
    'block',
    [
        {},
        dict(type=None),
        dict(type=5),
        dict(type='mmdet.ReplayDataset'),
        dict(type='NotReplayDataset'),
        dict(type=AmpOptimWrapper),
        None,
    ],
)
def test_another_type_is_none_of_these(block):
    assert not is_type(block, NAME)
    assert not is_type(block, NAME, registry=DATASETS)


def test_what_is_built_already_and_what_a_registry_knows():
    assert is_type(OptimWrapper.__new__(OptimWrapper), 'mmengine.OptimWrapper')
    path = f'{OwnReplay.__module__}.OwnReplay'
    assert not is_type(dict(type=path), NAME)
    DATASETS.register_module(name='OwnReplay', module=OwnReplay, force=True)
    assert is_type(dict(type='OwnReplay'), NAME, registry=DATASETS)


def test_names_of_functions_and_aliases():
    assert type_text(len) == 'builtins.len'
    assert type_package(dict(type='ResNet')) == ''
    from mmengine.model import PretrainedInit

    for kind in ('Pretrained', 'mmengine.Pretrained', PretrainedInit):
        assert is_type(Config(dict(a=dict(type=kind))).a, *PRETRAINED)


def test_whose_method_it_is():
    class Own(OptimWrapper):
        def step(self):
            """Not MMEngine's."""

    assert owner_of(Own.__mro__, 'step') is Own
    assert owner_of(Own.__mro__, 'backward') is OptimWrapper
    assert owner_of(Own.__mro__, 'no_such_method') is None
    assert owner_of([], 'step') is None
    assert is_of_library(OptimWrapper)
    assert not is_of_library(Own) and not is_of_library(None)
