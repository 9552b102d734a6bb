"""`model.type` written over a class of one's own is found in the bases."""

import sys

import pytest
import tiny
from mmengine.config import Config

from luminet_mm.preflight.student import student_problems

MODULE = """
import luminet_mm
from mmdet.models import FasterRCNN
from mmdet.registry import MODELS
from luminet_mm.distillers import TwoStageDistiller

@MODELS.register_module(force=True)
class LossyRCNN(FasterRCNN):
    def loss(self, *args):
        return super().loss(*args)

@MODELS.register_module(force=True)
class DistilledLossyRCNN(TwoStageDistiller, LossyRCNN):
    pass
"""
OURS = "type='luminet_mm.TwoStageDistiller'"
READ = 'from mmengine.config import read_base\nwith read_base():\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'lossy_models.py').write_text(MODULE)
    stock = Config(dict(default_scope='mmdet', model=tiny.detector()))
    stock.dump(tmp_path / 'stock.py')
    imports = "custom_imports = dict(imports=['lossy_models'])\n"
    files = dict(
        own=f"{imports}_base_ = './stock.py'\nmodel = dict(type='LossyRCNN')",
        lost=f"_base_ = './own.py'\nmodel = dict({OURS})",
        below="_base_ = './lost.py'\nmodel = dict(backbone=dict(depth=18))",
        kept="_base_ = './own.py'\nmodel = dict(type='DistilledLossyRCNN')",
        over=f"_base_ = './kept.py'\nmodel = dict({OURS})",
        anew=f"_base_ = './own.py'\nmodel = dict({OURS}, _delete_=True)",
        plain=f"_base_ = './stock.py'\nmodel = dict({OURS})",
        lazy_own=f'{READ}    from .stock import *\n'
        'from lossy_models import LossyRCNN\nmodel.update(type=LossyRCNN)',
        lazy_lost=f'{READ}    from .lazy_own import *\n'
        'from luminet_mm.distillers import TwoStageDistiller\n'
        'model.update(type=TwoStageDistiller)',
    )
    for name, text in files.items():
        (tmp_path / f'{name}.py').write_text(text + '\n')
    yield tmp_path
    sys.modules.pop('lossy_models', None)


@pytest.mark.parametrize('name', ['lost', 'below', 'over', 'lazy_lost'])
def test_the_own_class_is_missed(folder, name):
    (line,) = student_problems(Config.fromfile(folder / f'{name}.py'))
    assert 'TwoStageDistiller would replace ' in line
    assert 'overrides (loss) would not run' in line
    assert 'LossyRCNN)' in line and 'own.py' in line or 'kept.py' in line


@pytest.mark.parametrize('name', ['own', 'kept', 'anew', 'plain', 'stock'])
def test_nothing_is_lost(folder, name):
    assert student_problems(Config.fromfile(folder / f'{name}.py')) == []


def test_the_command_line_replaces_it_too(folder):
    cfg = Config.fromfile(folder / 'own.py')
    cfg.merge_from_dict({'model.type': 'luminet_mm.TwoStageDistiller'})
    (line,) = student_problems(cfg)
    assert "model.type='DistilledLossyRCNN'" in line
    cfg.merge_from_dict({'model.type': 'DistilledLossyRCNN'})
    assert student_problems(cfg) == []


def test_a_config_without_a_file(folder):
    cfg = Config(dict(model=dict(type='luminet_mm.TwoStageDistiller')))
    assert student_problems(cfg) == []
