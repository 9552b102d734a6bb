"""SyncBatchNorm: mmcv's arguments and keys, torch's values."""

import pytest
import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import revert_sync_batchnorm
from torch import nn

from luminet_mm.ops.sync_bn import SyncBatchNorm


def test_a_config_of_mmcv_builds_it():
    name, layer = build_norm_layer(
        dict(type='MMSyncBN', eps=1e-3, stats_mode='N'), 4, postfix=1
    )
    assert name == 'bn1' and layer.eps == 1e-3
    assert layer.state_dict().keys() == nn.BatchNorm2d(4).state_dict().keys()
    with pytest.raises(ValueError, match="stats_mode='M' is not one of"):
        SyncBatchNorm(4, stats_mode='M')


def test_in_one_process_it_becomes_a_plain_batch_norm():
    torch.manual_seed(0)
    layer = SyncBatchNorm(3)
    nn.init.normal_(layer.weight)
    plain = nn.BatchNorm2d(3)
    plain.load_state_dict(layer.state_dict())
    images = torch.randn(2, 3, 4, 4)
    reverted = revert_sync_batchnorm(nn.Sequential(layer))
    assert torch.equal(reverted(images), plain(images))
    layer.eval()  # as it is, on a CPU too
    assert torch.allclose(layer(images), reverted.eval()(images))
