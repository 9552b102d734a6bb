"""Deep mutual learning: two students, one run, either may be published."""

import copy
import runpy
import sys
from pathlib import Path

import pytest
import tiny_cls
import torch
from goldens import golden_cases
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch.nn import functional as F

from luminet_mm.distillers.mutual import mutual_losses
from luminet_mm.distillers.watch import Watch
from luminet_mm.hooks.tally import Tally
from luminet_mm.loading.checkpoint import get_state_dict, load_checkpoint
from luminet_mm.losses import KDLoss
from luminet_mm.preflight import check_config
from luminet_mm.stock import stock_config

ROOT = Path(__file__).parents[2]
KD = dict(type='luminet_mm.KDLoss', signal='logits')
SIGMOID = tiny_cls.classifier() | dict(
    head=dict(
        type='mmpretrain.MultiLabelLinearClsHead',
        num_classes=5,
        in_channels=64,
    )
)


@pytest.fixture(autouse=True)
def _mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def mutual(*peers, **distill):
    """A config; by default of two ResNets, the second a little wider."""
    return dict(
        tiny_cls.classifier(),
        type='luminet_mm.MutualClassifier',
        peers=list(peers) or [tiny_cls.classifier(width=12)],
        distill=distill or dict(loss_dml=KD),
    )


def losses_of(model, **kwargs):
    batch = tiny_cls.prepared(model, **kwargs)
    return model.loss(**batch)


def logits_of(network, batch):
    """Logits in training mode, of a copy: batch norm's state stays."""
    network = copy.deepcopy(network)
    return network.head(network.extract_feat(batch['inputs']))


@pytest.mark.parametrize('networks', [2, 3])
def test_each_learns_from_the_mean_over_its_peers(networks):
    widths = [12, 10][: networks - 1]
    model = tiny_cls.build(
        mutual(*[tiny_cls.classifier(width=w) for w in widths])
    )
    batch = tiny_cls.prepared(model)
    first = copy.deepcopy(model)
    del first.peers  # the copy is called as a stock model
    logits = [logits_of(net, batch) for net in (first, *model.peers)]
    losses = model.loss(**batch)
    assert [k for k in losses if 'loss' in k] == [
        'loss_cls',
        *[f'peer{i}.loss_cls' for i in range(networks - 1)],
        'loss_dml',
        *[f'peer{i}.loss_dml' for i in range(networks - 1)],
    ]
    for k, own in enumerate(logits):
        expected = torch.stack(
            [
                F.kl_div(
                    own.log_softmax(1),
                    other.log_softmax(1),
                    reduction='batchmean',
                    log_target=True,
                )
                for j, other in enumerate(logits)
                if j != k
            ]
        ).mean()
        name = f'peer{k - 1}.loss_dml' if k else 'loss_dml'
        assert torch.allclose(losses[name], expected, rtol=1e-5)


def test_a_loss_moves_its_own_network_only():
    model = tiny_cls.build(mutual())
    losses = losses_of(model)
    losses['peer0.loss_dml'].backward()
    moved = {
        name.split('.')[0]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    assert moved == {'peers'}


@pytest.mark.parametrize('case', golden_cases('dml'))
def test_golden(case):
    """The mimicry terms of arXiv 1706.00384, each of its own network."""
    logits = [
        torch.tensor(case['inputs'][f'logits_{i}'], dtype=torch.float64)
        for i in (1, 2)
    ]
    for each in logits:
        each.requires_grad_()
    expected = case['expected']
    losses = mutual_losses(logits, KDLoss(tau=1.0))
    both = losses[0].new_tensor([expected['kl_2_to_1'], expected['kl_1_to_2']])
    torch.testing.assert_close(torch.stack(losses), both, rtol=1e-8, atol=0)
    for i, grad in enumerate(torch.autograd.grad(sum(losses), logits), 1):
        wanted = grad.new_tensor(expected['grad'][f'logits_{i}'])
        torch.testing.assert_close(grad, wanted, rtol=1e-7, atol=1e-12)


def test_the_first_network_trains_as_alone(tmp_path):
    """With weight 0 it ends with the stock weights, bit by bit."""
    alone = tiny_cls.runner(tiny_cls.classifier(), tmp_path / 'alone')
    alone.train()
    together = tiny_cls.runner(
        mutual(loss_dml=dict(KD, loss_weight=0.0)), tmp_path / 'both'
    )
    before = copy.deepcopy(together.model.peers.state_dict())
    together.train()
    ours = together.model.state_dict()
    for key, value in alone.model.state_dict().items():
        assert torch.equal(ours[key], value), key
    after = together.model.peers.state_dict()
    assert not torch.equal(
        before['0.head.fc.weight'], after['0.head.fc.weight']
    )


def test_peers_start_apart():
    same = tiny_cls.classifier()
    model = tiny_cls.build(mutual(same, same))
    weights = [net.backbone.conv1.weight for net in (model, *model.peers)]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize('peer', [None, 0])
def test_either_may_be_published(tmp_path, monkeypatch, peer):
    """What is published is a stock checkpoint with a stock config."""
    cfg = Config(dict(model=mutual(), default_scope='mmpretrain'))
    model = tiny_cls.build(cfg.model)
    losses_of(model)  # moves the statistics of batch norm
    torch.save(
        dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict()),
        tmp_path / 'run.pth',
    )
    command = ['publish.py', str(tmp_path / 'run.pth'), str(tmp_path / 'out')]
    command += [] if peer is None else ['--peer', str(peer)]
    monkeypatch.setattr(sys, 'argv', command)
    runpy.run_path(str(ROOT / 'tools' / 'publish.py'), run_name='__main__')
    (path,) = tmp_path.glob('out-*.pth')
    checkpoint = load_checkpoint(path)
    trained = model if peer is None else model.peers[peer]
    cfg = Config.fromstring(checkpoint['meta']['cfg'], '.py')
    assert cfg.model.type.endswith('ImageClassifier')
    stock = tiny_cls.build(cfg.model)
    stock.load_state_dict(get_state_dict(checkpoint), strict=True)
    images = torch.randn(2, 3, 32, 32)
    trained.eval()
    stock.eval()
    assert torch.equal(stock(images), trained(images))


def test_stock_config_is_the_first_network():
    cfg = stock_config(Config(dict(model=mutual())))
    assert cfg.model == Config(dict(model=tiny_cls.classifier())).model


def test_the_first_network_is_watched_beside_the_mean_of_its_peers():
    peers = [tiny_cls.classifier(width=width) for width in (8, 12)]
    seen = []
    for watched in (False, True):
        model = tiny_cls.build(mutual(*peers))
        model.watch = Watch()
        model.watch.due = watched
        batch = tiny_cls.prepared(model)
        losses = model.loss(**batch)
        model.parse_losses(losses)[0].backward()
        seen.append([p.grad for p in model.parameters()])
    assert all(map(torch.equal, *seen))
    tally = Tally()
    tally.add(model.watch.found[:, 0].tolist())
    assert tally.share > 0 and not tally.outside and tally.labelled
    logits = [logits_of(each, batch) for each in (model, *model.peers)]
    labels = torch.cat([each.gt_label for each in batch['data_samples']])
    mean = torch.stack(logits[1:]).mean(dim=0)
    assert tally.teacher == (mean.argmax(1) == labels).sum()
    assert tally.student == (logits[0].argmax(1) == labels).sum()


def test_peers_that_start_at_chance_are_no_fault(tmp_path):
    run = tiny_cls.runner(
        mutual(),
        tmp_path,
        custom_hooks=[dict(type='luminet_mm.DistillMonitorHook', first=4)],
    )
    run.train()
    assert run.model.watch is None


def test_an_idle_loss_is_logged_as_zero():
    model = tiny_cls.build(mutual())
    model.distill.loss_dml.schedule_factor = 0
    losses = losses_of(model)
    assert losses['loss_dml'] == losses['peer0.loss_dml'] == 0
    assert 'peer0.loss_cls' in losses


@pytest.mark.parametrize('factor', [0, 1])
def test_name_of_a_stock_loss_is_refused(factor):
    """It would take the place of every network's cross entropy."""
    loss = dict(type='luminet_mm.KDLoss', signal='logits')
    model = tiny_cls.build(mutual(loss_cls=loss))
    model.distill.loss_cls.schedule_factor = factor
    with pytest.raises(ValueError, match='model.distill.loss_cls.*Rename'):
        losses_of(model)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(peers=[]), 'model.peers: .*list the configs'),
        (dict(peers=['gone.py']), 'model.peers.0 .*gone.py.*no such file'),
        (
            dict(teacher=dict(config='x', checkpoint=None)),
            'model.teacher: .*teach one another',
        ),
        (
            dict(peers=[tiny_cls.classifier(num_classes=7)]),
            r'the student has 5 classes and the peer \(model.peers.0\) has 7',
        ),
        (
            dict(peers=[tiny_cls.classifier(), SIGMOID]),
            r"loss_dml: the peer \(model.peers.1\)'s head .* \(a sigmoid\)",
        ),
        (
            dict(
                distill=dict(
                    loss_x=dict(type='luminet_mm.PKTLoss', signal='feats')
                )
            ),
            'loss_x: PKTLoss compares features',
        ),
        (
            dict(
                distill=dict(
                    loss_x=dict(
                        type='luminet_mm.KDLoss',
                        signal='logits',
                        loss_weight='auto',
                    )
                )
            ),
            'loss_x.loss_weight: a weight that sets itself',
        ),
        (
            dict(
                peers=[
                    dict(
                        tiny_cls.classifier(),
                        data_preprocessor=dict(mean=[1.0] * 3, std=[1.0] * 3),
                    )
                ]
            ),
            'model.peers.0: its data_preprocessor has another',
        ),
        (dict(distill={}), 'model.distill: missing'),
        (dict(student=dict(channels_last=True)), 'model.student: the netw'),
    ],
)
def test_bad_input_is_named(change, message):
    cfg = Config(dict(model=mutual() | change)).model
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        MODELS.build(cfg)


def test_preflight_names_a_missing_peer():
    cfg = Config(dict(model=mutual('gone.py'), default_scope='mmpretrain'))
    with pytest.raises(ValueError, match='model.peers.0: no file gone.py'):
        check_config(cfg, ['train'])
    cfg.model.peers = [tiny_cls.classifier()]
    check_config(cfg, ['train'])
