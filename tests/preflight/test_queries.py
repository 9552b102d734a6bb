"""A DETR of few queries and classes keeps no more than it predicts."""

import pytest
import tiny_detr
from mmengine.config import Config
from mmengine.hub import get_config

from luminet_mm.preflight import check_config
from luminet_mm.preflight.faults import ConfigError
from luminet_mm.preflight.queries import query_problems


def problems(queries, classes, kept, sigmoid=True):
    head = dict(num_classes=classes, loss_cls=dict(use_sigmoid=sigmoid))
    return query_problems(
        Config(
            dict(
                model=dict(
                    num_queries=queries,
                    bbox_head=head,
                    test_cfg=dict(max_per_img=kept),
                )
            )
        )
    )


@pytest.mark.parametrize(
    ('queries', 'classes', 'kept', 'sigmoid', 'most'),
    [
        (20, 2, 40, True, None),
        (20, 2, 41, True, 40),
        (100, 80, 100, False, None),
        (50, 80, 100, False, 50),
    ],
)
def test_most_that_can_be_kept(queries, classes, kept, sigmoid, most):
    lines = problems(queries, classes, kept, sigmoid)
    assert bool(lines) == (most is not None)
    assert all(line.endswith(f'set it to {most} or less') for line in lines)


@pytest.mark.parametrize('name', ['dino-4scale_r50_8xb2-12e', 'none'])
def test_stock_configs_and_other_models_pass(name):
    model = dict(type='GFL', test_cfg=dict(max_per_img=100))
    if name != 'none':
        model = get_config(f'mmdet::dino/{name}_coco.py').model
    assert query_problems(Config(dict(model=model))) == []


def test_the_check_of_a_config_says_it():
    model = tiny_detr.distiller()
    model.test_cfg = dict(max_per_img=100)
    cfg = Config(dict(model=model, default_scope='mmdet'))
    with pytest.raises(ConfigError, match='max_per_img: 100, but 20 queries'):
        check_config(cfg)
