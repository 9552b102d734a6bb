"""The blocks teacher and distill: files, options, losses."""

import pytest
from checked import LOSS, problem, problems
from tiny import distiller

from luminet_mm.preflight import (
    check_config,
)


@pytest.mark.parametrize('key', ['config', 'checkpoint'])
def test_teacher_file_missing(config, key):
    config.model.teacher[key] = 'gone'
    line = problem(config)
    assert f'model.teacher.{key}: no file gone; ' in line
    assert 'give a path' in line


def test_teacher_that_is_not_trained_yet(config):
    config.model.teacher.checkpoint = 'work_dirs/teacher/epoch_2.pth'
    assert (
        'model.teacher.checkpoint: no file work_dirs/teacher/epoch_2.pth; '
        f'train {config.model.teacher.config} first, or give a path'
    ) in problem(config)
    config.model.teacher.config = 'gone'
    assert not any('first' in line for line in problems(config))


@pytest.mark.parametrize('key', ['config', 'checkpoint'])
def test_teacher_key_missing(config, key):
    config.model.teacher.pop(key)
    assert f'model.teacher.{key}: missing' in problem(config)


def test_no_teacher(config):
    config.model.pop('teacher')
    assert 'model.teacher: missing; add teacher=dict' in problem(config)


def test_no_losses(config):
    config.model.distill = {}
    assert 'model.distill: missing; name at least one' in problem(config)


def test_teacher_from_a_package(config):
    config.model.teacher.config = (
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    )
    config.model.teacher.checkpoint = 'https://example.org/a.pth'
    check_config(config)
    config.model.teacher.config = 'mmdet::faster_rcnn/gone.py'
    assert 'faster_rcnn/gone.py' in problem(config)
    config.model.teacher.config = 'mmgone::a.py'
    assert 'mmgone, which is not installed' in problem(config)


def test_random_teacher_and_inline_config_are_allowed(config):
    config.model = distiller()
    check_config(config)


@pytest.mark.parametrize('tau', [0, -1, 'hot'])
def test_tau(config, tau):
    config.model.distill.loss_luminet.tau = tau
    line = problem(config)
    assert f'model.distill.loss_luminet: LumiNetLoss: tau is {tau!r}' in line
    assert '> 0' in line


@pytest.mark.parametrize(
    'change, message',
    [
        (
            dict(type='luminet_mm.LumiNetLos'),
            ".type: 'luminet_mm.LumiNetLos' is not a registered loss; did you "
            "mean 'luminet_mm.LumiNetLoss'?",
        ),
        (
            dict(type='KDLoss'),
            "'KDLoss' is not a registered loss; did you mean "
            "'luminet_mm.KDLoss'?",
        ),
        (dict(type=5), '.type: 5 is not the name of a loss'),
        (dict(type=None), '.type: missing; name a loss'),
        (
            dict(temperature=2.0),
            ".temperature: LumiNetLoss has no option 'temperature'. It has "
            'tau, ',
        ),
        (dict(taw=2.0), "no option 'taw'; did you mean 'tau'?"),
        (dict(row='all'), "did you mean 'rows'? It has tau, "),
        (dict(loss_wight=2.0), "did you mean 'loss_weight'?"),
        (dict(loss_weight=-1.0), 'loss_weight is -1'),
        (dict(signal=None), 'say what it compares'),
        (dict(type='L1Loss', tau=None), 'L1Loss is not a distillation loss'),
    ],
)
def test_loss_that_cannot_be_built(config, change, message):
    """Types without a scope are looked up in the config's own scope."""
    loss = {**config.model.distill.loss_luminet, **change}
    config.model.distill.loss_luminet = {
        key: value for key, value in loss.items() if value is not None
    }
    line = problem(config)
    assert 'model.distill.loss_luminet' in line and message in line


def test_loss_key_without_prefix(config):
    config.model.distill = dict(kd=LOSS)
    assert 'must start with `loss_`' in problem(config)
    assert 'rename it to loss_kd' in problem(config)
