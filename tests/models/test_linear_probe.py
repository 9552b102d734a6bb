"""LinearProbe: the head learns, and nothing else changes."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from tiny_cls import batch, build, classifier


@pytest.fixture(autouse=True)
def _mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def probe(kind, **backbone):
    model = classifier(kind)
    model['type'] = 'luminet_mm.LinearProbe'
    model['backbone'].update(backbone)
    return model


def steps(model, number=3):
    optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1)
    optim = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=optimizer)
    )
    for seed in range(number):
        model.train_step(batch(seed=seed), optim)


@pytest.mark.parametrize('kind', ['resnet', 'vit'])
def test_only_the_head_is_trained(kind):
    """Not even the statistics of batch norm, nor by weight decay."""
    model = build(probe(kind))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    steps(model)
    moved = {
        k for k, v in model.state_dict().items() if not v.equal(before[k])
    }
    head = {key for key in before if key.startswith('head.')}
    assert moved == head
    assert {k for k, p in model.named_parameters() if p.requires_grad} == head


@pytest.mark.parametrize('kind', ['resnet', 'vit'])
def test_features_are_those_of_prediction(kind):
    """In train mode dropout and drop-path would change them."""
    model = build(probe(kind))
    assert model.training and model.head.training
    images = torch.randn(4, 3, 32, 32)
    feats = model.extract_feat(images)[-1]
    torch.testing.assert_close(
        feats, model.eval().extract_feat(images)[-1], rtol=0, atol=0
    )


def test_backbone_of_a_checkpoint_with_another_head(tmp_path):
    """What a config of a linear probe does."""
    trained = build(classifier(num_classes=3), seed=1)
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=trained.state_dict()), path)
    model = MODELS.build(
        probe(
            'resnet',
            init_cfg=dict(
                type='Pretrained', checkpoint=str(path), prefix='backbone.'
            ),
        )
    )
    model.init_weights()
    steps(model)
    for key, value in trained.backbone.state_dict().items():
        assert value.equal(model.backbone.state_dict()[key]), key


@pytest.mark.parametrize(
    'trained', [classifier('vit'), classifier('resnet', width=6)]
)
def test_a_checkpoint_of_another_network_is_an_error(trained, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=build(trained).state_dict()), path)
    model = MODELS.build(
        probe(
            'resnet',
            init_cfg=dict(
                type='Pretrained', checkpoint=str(path), prefix='backbone.'
            ),
        )
    )
    with pytest.raises(
        ValueError, match=r'weights of ResNet_CIFAR are not in'
    ):
        model.init_weights()
