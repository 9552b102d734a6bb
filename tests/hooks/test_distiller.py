"""The distillation model of a run: found below DDP, or asked for."""

from types import SimpleNamespace

import pytest
import tiny_cls
from mmengine.model import MMDistributedDataParallel
from torch import nn

from luminet_mm.hooks.distiller import distiller_of


class Wrapped(MMDistributedDataParallel):
    """DDP without a group of processes."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module = module


def runner(model):
    return SimpleNamespace(model=model)


def test_is_found_with_and_without_ddp():
    model = tiny_cls.build(tiny_cls.distiller())
    assert distiller_of(runner(model), 'hook') is model
    assert distiller_of(runner(Wrapped(model)), 'hook') is model


@pytest.mark.parametrize('wrap', [lambda model: model, Wrapped])
def test_a_stock_model_is_refused_by_who_needs_it(wrap):
    stock = tiny_cls.build(tiny_cls.classifier())
    with pytest.raises(ValueError) as error:
        distiller_of(runner(wrap(stock)), 'DistillScheduleHook')
    message = str(error.value)
    assert message.startswith('DistillScheduleHook: the model is ')
    assert 'ImageClassifier' in message
    assert "'luminet_mm.TwoStageDistiller'" in message
    assert "'luminet_mm.ClassifierDistiller'" in message
