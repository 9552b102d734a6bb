"""LossDict: ranks with seeds of their own begin with equal buffers."""

import pytest
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel

import luminet_mm  # noqa: F401  (the ranks load this file by itself)
from luminet_mm.launch.processes import ddp_settings

FCFD = dict(
    type='luminet_mm.FCFDLoss',
    signal=['backbone.layer1', 'backbone.layer4', 'logits'],
    paths=1,
    sync_stats=False,  # where draws differ, ranks would wait for ever
)
CRD = dict(
    type='luminet_mm.CRDLoss',
    signal='neck',
    levels=[-1],
    num_samples=8,
    embed_dim=4,
)
STEPS = 6


def on_rank(rank, world_size):
    """What FCFD drew and CRD's first bank, with a seed per rank."""
    config = tiny_cls.distiller(loss_fcfd=FCFD, loss_crd=CRD)
    model = tiny_cls.build(config, seed=rank)
    own = model.distill['loss_crd'].student_bank.clone()
    settings = ddp_settings(Config(dict(model=config)))
    settings.pop('type')
    wrapped = MMDistributedDataParallel(model, **settings)
    loss, drawn, banks = model.distill['loss_fcfd'], [], []
    choose = loss.draw
    loss.draw = lambda *args: drawn.append(choose(*args)) or drawn[-1]
    model.distill['loss_crd'].register_forward_pre_hook(
        lambda module, args: banks.append(module.student_bank.clone())
    )
    for _ in range(STEPS):
        data = tiny_cls.prepared(model)
        for number, sample in enumerate(data['data_samples']):
            sample.set_metainfo(dict(sample_idx=number))
        losses = wrapped(**data, mode='loss')
        sum(losses.values()).backward()
    return dict(own=own, drawn=drawn, bank=banks[0])


@pytest.mark.two_ranks(run=on_rank)
def test_each_rank_has_the_first_ones_buffers(two_ranks):
    """DDP, as MMEngine sets it, copies parameters alone."""
    one, two = two_ranks
    assert not torch.equal(one['own'], two['own'])  # before the first step
    assert torch.equal(one['bank'], one['own'])
    assert torch.equal(two['bank'], one['own'])
    assert one['drawn'] == two['drawn'] and len(one['drawn']) == STEPS
