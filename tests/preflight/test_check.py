"""What check_config finds, and what it lets pass."""

from checked import LOSS, problem, problems

from luminet_mm.preflight import (
    check_config,
)


def test_a_good_config_passes(config):
    check_config(config)


def test_all_faults_are_reported_at_once(config, data):
    config.model.distill = dict(luminet=dict(LOSS, tau=0))
    config.load_from = 'gone.pth'
    (data / 'teacher.pth').unlink()
    lines = problems(config)
    assert len(lines) == 4
    for part in (
        'loss_luminet',
        'tau is 0',
        'load_from',
        'teacher.checkpoint',
    ):
        assert sum(part in line for line in lines) >= 1


def test_pretrained_backbone_missing(config):
    config.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='gone.pth'
    )
    assert 'model.backbone.init_cfg.checkpoint: no file' in problem(config)
    config.model.backbone.init_cfg.checkpoint = 'torchvision://resnet18'
    check_config(config)


def test_load_from(config):
    config.load_from = 'gone.pth'
    assert 'load_from: no file gone.pth' in problem(config)
    config.load_from = 'https://example.org/a.pth'
    check_config(config)


def test_a_stock_config_passes(config):
    for key in ('teacher', 'distill'):
        config.model.pop(key)
    config.model.type = 'FasterRCNN'
    check_config(config)
