"""A config in pure Python goes through train.py and test.py as any other."""

import torch
from mmengine.config import Config

from luminet_mm.stock import stock_config_text

CONFIG = """
from mmengine.config import read_base

with read_base():
    from .base import *

from mmdet.datasets import CocoDataset
from mmengine.optim import OptimWrapper
from torch.optim import SGD
from luminet_mm.distillers import TwoStageDistiller
from luminet_mm.hooks import TeacherCheckHook
from luminet_mm.losses import LumiNetLoss

model.update(
    type=TwoStageDistiller,
    teacher=dict(config=dict(model=dict(model)), checkpoint=None),
    distill=dict(
        loss_luminet=dict(type=LumiNetLoss, signal='roi.cls_score')),
)
optim_wrapper.update(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.01))
train_dataloader['dataset']['type'] = CocoDataset
custom_hooks = [dict(type=TeacherCheckHook, evaluate=False)]
"""


def test_train_then_test(run_tool, config, dump, tmp_path, capsys):
    dump(config, 'base.py')
    path = tmp_path / 'pure.py'
    path.write_text(CONFIG)
    run_tool('train', path)
    checkpoint = tmp_path / 'work' / 'epoch_1.pth'
    capsys.readouterr()
    run_tool('test', path, checkpoint)
    assert 'coco/bbox_mAP' in capsys.readouterr().out
    written = Config.fromfile(tmp_path / 'work' / 'pure_test.py')
    assert written.model.type == 'mmdet.TwoStageDetector'
    assert written.custom_hooks == []
    # and what publish.py writes names this package as an import alone, which
    # may fail
    text = torch.load(checkpoint, weights_only=False)['meta']['cfg']
    assert 'luminet_mm.' in text
    stock = Config.fromstring(stock_config_text(text), '.py')
    assert stock.pop('custom_imports') == dict(
        imports=['luminet_mm'], allow_failed_imports=True
    )
    assert 'luminet_mm' not in stock.pretty_text
