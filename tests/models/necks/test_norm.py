"""NORM's student: trained with two layers, deployed with one."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from tiny_cls import batch, build, classifier, distiller

from luminet_mm.models import NORMNeck
from luminet_mm.stock import stock_config


@pytest.fixture(autouse=True)
def _mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def config():
    """The last maps have 64 and 96 channels."""
    student = classifier()
    student['neck'] = [
        dict(
            type='luminet_mm.NORMNeck',
            in_channels=64,
            teacher_channels=96,
            num_segments=2,
        ),
        dict(type='mmpretrain.GlobalAveragePooling'),
    ]
    student['head']['type'] = 'luminet_mm.NormalizedClsHead'
    return distiller(
        student,
        loss_norm=dict(
            type='luminet_mm.NORMLoss',
            student='neck.0.expand',
            teacher='backbone',
            levels=[-1],
        ),
    )


def neck(dtype=torch.float32, **options):
    """A neck whose batch norms have seen something."""
    torch.manual_seed(0)
    made = NORMNeck(6, 5, num_segments=3, **options)
    made.init_weights()
    for _ in range(3):
        made([2 * torch.randn(4, 6, 5, 5) + 1])
    for norm in (made.expand[1], made.contract[1]):
        torch.nn.init.uniform_(norm.weight, -1, 2)
        torch.nn.init.uniform_(norm.bias, -1, 1)
    return made.to(dtype)


@pytest.mark.parametrize('residual', [True, False])
@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.float64, 1e-12)]
)
def test_the_merged_neck_is_one_convolution(dtype, tolerance, residual):
    one = neck(dtype, residual=residual).eval()
    maps = torch.randn(4, 6, 5, 5).to(dtype)
    (before,) = one([maps])
    one.switch_to_deploy()
    (after,) = one([maps])
    torch.testing.assert_close(after, before, rtol=tolerance, atol=tolerance)
    assert after.dtype == dtype
    (layer,) = one.children()
    assert layer.kernel_size == (1, 1) and not layer.training
    assert sum(p.numel() for p in one.parameters()) == 6 * 6 + 6
    one.switch_to_deploy()  # nothing is left to do
    other = NORMNeck(6, 5, num_segments=3, residual=residual, deploy=True)
    other.to(dtype).load_state_dict(one.state_dict(), strict=True)
    assert other([maps])[0].equal(after)


def test_number_of_parameters():
    wide = 8 * 96
    made = NORMNeck(64, 96)
    assert sum(p.numel() for p in made.parameters()) == (
        2 * 64 * wide + 2 * wide + 2 * 64
    )


def test_a_student_is_trained_published_and_merged():
    cfg = config()
    model = build(cfg)
    assert not list(model.distill.parameters())
    optim = build_optim_wrapper(
        model,
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)),
    )
    before = copy.deepcopy(model.state_dict())
    for seed in range(3):
        log = model.train_step(batch(seed=seed), optim)
        assert log['loss_norm'] > 0 and log['loss_norm'].isfinite()
    for key, value in model.named_parameters():
        assert not value.equal(before[key]), key

    stock = build(stock_config(copy.deepcopy(cfg)), seed=3).eval()
    stock.load_state_dict(model.state_dict(), strict=True)
    images = torch.randn(4, 3, 32, 32)
    expected = model.eval()(images)
    assert stock(images).equal(expected)
    stock.neck[0].switch_to_deploy()
    torch.testing.assert_close(stock(images), expected, rtol=1e-5, atol=1e-5)


def test_bad_numbers_are_named():
    with pytest.raises(ValueError, match='NORMNeck: num_segments is 0'):
        NORMNeck(6, 5, num_segments=0)
