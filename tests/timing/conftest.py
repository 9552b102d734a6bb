"""What the timing's tests time."""

import pytest
import tiny
import tiny_cls
import tiny_dense
from mmengine.config import Config

SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))


@pytest.fixture
def config():
    """Make the config of a distillation run."""

    def make(kind):
        model, scope = {
            'detector': (tiny.distiller, 'mmdet'),
            'dense': (tiny_dense.distiller, 'mmdet'),
            'classifier': (tiny_cls.distiller, 'mmpretrain'),
        }[kind]
        return Config(
            dict(model=model(), default_scope=scope, optim_wrapper=SGD)
        )

    return make
