"""The teacher's classifier as a head: never trained, saved, never replaced."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from tiny_cls import batch, build, classifier, runner
from tiny_cls import simkd as config

from luminet_mm.loading.checkpoint import load_checkpoint
from luminet_mm.models import ReusedClsHead
from luminet_mm.stock import stock_config

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')


def assert_reused(model):
    theirs = model.teacher.model.head.fc
    assert model.head.fc.weight.equal(theirs.weight)
    assert model.head.fc.bias.equal(theirs.bias)
    assert model.head.fc.weight is not theirs.weight
    assert theirs.weight.std() > 0


def test_the_classifier_is_the_teachers_before_and_after_training():
    model = build(config())
    assert_reused(model)
    assert not list(model.distill.parameters())
    optim = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1, momentum=0.9),
        ),
    )
    before = copy.deepcopy(model.state_dict())
    first = last = None
    for _ in range(5):
        log = model.train_step(batch(), optim)
        assert log['loss_cls'] == 0
        last = log['loss_simkd']
        first = last if first is None else first
    assert last < first
    assert_reused(model)
    moved = {
        key
        for key, value in model.named_parameters()
        if not value.equal(before[key])
    }
    trained = {k for k, p in model.named_parameters() if p.requires_grad}
    assert moved == trained
    assert set(dict(model.named_parameters())) - trained == {
        'head.fc.weight',
        'head.fc.bias',
    }


def test_a_models_own_initialisation_leaves_the_classifier_alone():
    cfg = config()
    cfg['init_cfg'] = dict(type='Constant', layer='Linear', val=0.5)
    model = build(cfg)
    assert_reused(model)
    assert not (model.head.fc.weight == 0.5).any()


def test_copies_share_the_teacher():
    model = build(config())
    other = copy.deepcopy(model)
    assert_reused(other)
    assert other.head._teacher.model is model.head._teacher.model
    other.load_state_dict(model.state_dict())


def test_the_stock_config_predicts_the_same_and_does_not_train():
    cfg = config()
    model = build(cfg)
    images = torch.randn(4, 3, 32, 32)
    stock = build(stock_config(Config(dict(model=cfg))).model, seed=3).eval()
    assert type(stock).__name__ == 'ImageClassifier'
    stock.load_state_dict(model.state_dict(), strict=True)
    assert stock(images).equal(model.eval()(images))
    with pytest.raises(RuntimeError, match='ReusedClsHead: no teacher'):
        raw = stock.data_preprocessor(batch(), True)
        stock.loss(**raw)
    # a head of MMPretrain's own reads the same file
    cfg = stock_config(Config(dict(model=cfg))).model
    cfg.head.type = 'mmpretrain.LinearClsHead'
    plain = build(cfg).eval()
    plain.load_state_dict(model.state_dict(), strict=True)
    assert plain(images).equal(model(images))


def test_another_classifier_in_a_checkpoint_is_refused():
    model = build(config())
    state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    state['head.fc.bias'][0] += 1
    with pytest.raises(ValueError, match=r'head\.fc\.bias is not the teach'):
        model.load_state_dict(state)
    for key in ('head.fc.bias', 'head.fc.weight'):
        del state[key]
    model.load_state_dict(state, strict=False)


def test_a_run_is_saved_and_resumed(tmp_path):
    weights = tmp_path / 'teacher.pth'
    teacher = classifier(width=12)
    torch.save(dict(state_dict=build(teacher, seed=5).state_dict()), weights)
    cfg = config([dict(config=dict(model=teacher), checkpoint=str(weights))])
    ema = [dict(type='EMAHook', momentum=0.5)]
    run = runner(cfg, tmp_path / 'a', max_epochs=1, custom_hooks=ema)
    run.train()
    assert_reused(run.model)
    path = tmp_path / 'a/epoch_1.pth'
    saved = load_checkpoint(path)
    for state, prefix in (
        (saved['state_dict'], ''),
        (saved['ema_state_dict'], 'module.'),
    ):
        assert state[f'{prefix}head.fc.weight'].equal(run.model.head.fc.weight)
    run = runner(
        cfg,
        tmp_path / 'b',
        resume=True,
        load_from=str(path),
        custom_hooks=ema,
    )
    run.train()
    assert run.epoch == 2
    assert_reused(run.model)


def test_what_cannot_be_reused_is_named():
    with pytest.raises(ValueError, match=r'5 classes and 32 .*in_channels=96'):
        build(config(channels=32))
    with pytest.raises(ValueError, match='VisionTransformerClsHead'):
        build(config(classifier('vit')))
    teacher = dict(config=dict(model=classifier(width=12)), checkpoint=None)
    cfg = config([teacher] * 2)
    cfg['distill']['loss_simkd']['teachers'] = [0]
    with pytest.raises(ValueError, match='there are 2 teachers'):
        build(cfg)
    with pytest.raises(ValueError, match='remove init_cfg'):
        ReusedClsHead(5, 8, init_cfg=dict(type='Normal', layer='Linear'))
