"""DeiTDistillHead: labels teach the class token, a teacher the other ones."""

import copy
import warnings

import pytest
import tiny_cls
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch.nn import functional as F

from luminet_mm.stock import stock_config

DIST = 'head.layers.head_dist'


@pytest.fixture(autouse=True)
def _mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def head(kind='luminet_mm.DeiTDistillHead', **options):
    torch.manual_seed(0)
    cfg = dict(
        type=kind,
        num_classes=5,
        in_channels=6,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=dict(type='Normal', layer='Linear', std=0.5),
    )
    built = MODELS.build(dict(cfg, **options))
    built.init_weights()
    return built


def tokens(count=2, images=4):
    generator = torch.Generator().manual_seed(1)
    return (tuple(torch.randn(count, images, 6, generator=generator)),)


def samples(images=4):
    return tiny_cls.batch(num_images=images)['data_samples']


def labels(data_samples):
    return torch.cat([each.gt_label for each in data_samples])


def student():
    model = tiny_cls.classifier('deit')
    model['head']['type'] = 'luminet_mm.DeiTDistillHead'
    return model


def distiller(**losses):
    return tiny_cls.distiller(
        student(), tiny_cls.classifier(width=12), **losses
    )


def hard(**options):
    return dict(
        type='luminet_mm.HardLabelLoss',
        student=DIST,
        teacher='logits',
        **options,
    )


@pytest.mark.parametrize('options', [{}, {'hidden_dim': 7}], ids=str)
def test_stock_checkpoints_and_predictions(options):
    stock = head('mmpretrain.DeiTClsHead', **options).eval()
    ours = head(**options)
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.load_state_dict(stock.state_dict())
    feats = tokens()
    assert torch.equal(ours.eval()(feats), stock(feats))


def test_labels_teach_the_class_token_alone():
    model = head().train()
    feats = tokens()
    data = samples()
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # the stock head warns
        loss = model.loss(feats, data)['loss']
    expected = F.cross_entropy(model.layers.head(feats[0][0]), labels(data))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert model.layers.head.weight.grad.abs().sum() > 0
    # there, for DDP, and 0
    assert not model.layers.head_dist.weight.grad.any()
    assert not model.layers.head_dist.bias.grad.any()


def test_each_token_has_its_own_logits():
    model = head().train()
    feats = tokens()
    cls_logits, dist_logits = model.token_logits(feats)
    torch.testing.assert_close(cls_logits, model.layers.head(feats[0][0]))
    torch.testing.assert_close(
        dist_logits, model.layers.head_dist(feats[0][1])
    )
    torch.testing.assert_close(model(feats), cls_logits)
    torch.testing.assert_close(
        model.eval()(feats), (cls_logits + dist_logits) / 2
    )


def test_more_tokens():
    model = head(num_dist_tokens=3)
    names = [name for name, _ in model.layers.named_children()]
    assert names == ['head', 'head_dist', 'head_dist2', 'head_dist3']
    feats = tokens(4)
    expected = sum(
        getattr(model.layers, name)(token)
        for name, token in zip(names, feats[0], strict=True)
    )
    torch.testing.assert_close(model.eval()(feats), expected / 4)
    loss = model.train().loss(feats, samples())['loss']
    loss.backward()
    assert model.layers.head.weight.grad.any()
    assert not model.layers.head_dist3.weight.grad.any()


@pytest.mark.parametrize('count', [1, 3])
def test_a_wrong_number_of_tokens_is_named(count):
    feats = tokens(count) if count > 1 else tokens()[0][:1]
    with pytest.raises(ValueError, match=f'gives {count} token'):
        head()(feats)


@pytest.mark.parametrize('count', [0, 1.5])
def test_bad_options_are_named(count):
    with pytest.raises(ValueError, match=f'num_dist_tokens is {count}'):
        head(num_dist_tokens=count)


def test_hard_distillation_teaches_the_distillation_token():
    """Both terms of DeiT's loss, from a distiller's own training pass."""
    cfg = distiller(loss_hard=hard(loss_weight=0.5))
    cfg['head']['loss']['loss_weight'] = 0.5
    cfg['backbone'].update(drop_path_rate=0.0, drop_rate=0.0)
    model = tiny_cls.build(cfg)
    data = tiny_cls.prepared(model)
    losses = model.loss(**data)
    feats = model.extract_feat(data['inputs'])
    cls_logits, dist_logits = model.head.token_logits(feats)
    with torch.no_grad():
        teacher = model.teacher.model(
            model.teacher.view(model, data['inputs'], data['data_samples'])
        )
    torch.testing.assert_close(
        losses['loss_cls'],
        0.5 * F.cross_entropy(cls_logits, labels(data['data_samples'])),
    )
    torch.testing.assert_close(
        losses['loss_hard'],
        0.5 * F.cross_entropy(dist_logits, teacher.argmax(1)),
    )
    losses['loss_hard'].backward()
    assert model.head.layers.head.weight.grad is None
    assert model.head.layers.head_dist.weight.grad.any()
    assert model.backbone.dist_token.grad.any()


def test_a_step_moves_all_and_the_checkpoint_is_the_stock_models():
    model = tiny_cls.build(distiller(loss_hard=hard()))
    before = copy.deepcopy(model.state_dict())
    optim = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    )
    log = model.train_step(tiny_cls.batch(), optim)
    assert log['loss_hard'] > 0
    for key in ('head.layers.head.weight', f'{DIST}.weight'):
        assert not torch.equal(model.state_dict()[key], before[key])
    stock = tiny_cls.build(tiny_cls.classifier('deit')).eval()
    stock.load_state_dict(model.state_dict())
    data = tiny_cls.prepared(model, training=False)
    assert torch.equal(
        model.eval()(data['inputs'], mode='tensor')[0][0],
        stock(data['inputs'], mode='tensor')[0][0],
    )
    one, other = (
        m.predict(**copy.deepcopy(data))[0].pred_score for m in (model, stock)
    )
    assert torch.equal(one, other)


def test_every_parameter_has_a_gradient_when_the_loss_is_off():
    """As DDP needs it, when a schedule has ended the distillation."""
    model = tiny_cls.build(distiller(loss_hard=hard()))
    model.distill['loss_hard'].schedule_factor = 0.0
    losses = model.loss(**tiny_cls.prepared(model))
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert not model.head.layers.head_dist.weight.grad.any()


def test_the_stock_config_keeps_the_head():
    from mmengine.config import Config

    cfg = stock_config(Config(dict(model=distiller(loss_hard=hard()))))
    assert cfg.model.type == 'mmpretrain.ImageClassifier'
    assert cfg.model.head.type == 'luminet_mm.DeiTDistillHead'
    MODELS.build(cfg.model)
