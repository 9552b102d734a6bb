"""Focal losses against the paper's formula, written out."""

import math

import pytest
import torch

from luminet_mm.ops import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    softmax_focal_loss,
)

TARGET = torch.tensor([0, 2, 3, 1])  # 3 is the background of the sigmoid
WEIGHT = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)


def _logits(columns=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(4, columns, generator=generator, dtype=dtype)


def _sigmoid_oracle(logits, target, gamma, alpha, weight):
    out = torch.zeros_like(logits)
    for n, row in enumerate(logits.tolist()):
        for c, x in enumerate(row):
            p = 1 / (1 + math.exp(-x))
            p, a = (p, alpha) if target[n] == c else (1 - p, 1 - alpha)
            out[n, c] = -a * (1 - p) ** gamma * math.log(p)
        if weight is not None and target[n] < len(weight):
            out[n] *= weight[target[n]]
    return out


@pytest.mark.parametrize('weight', [None, WEIGHT])
@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (0.0, 0.5), (0.5, 0.9)])
def test_sigmoid_matches_the_formula(gamma, alpha, weight):
    logits = _logits()
    expected = _sigmoid_oracle(logits, TARGET, gamma, alpha, weight)
    arguments = (logits, TARGET, gamma, alpha, weight)
    torch.testing.assert_close(
        sigmoid_focal_loss(*arguments, 'none'), expected
    )
    torch.testing.assert_close(
        sigmoid_focal_loss(*arguments, 'sum'), expected.sum()
    )
    torch.testing.assert_close(
        sigmoid_focal_loss(*arguments), expected.sum() / 4
    )


def test_sigmoid_of_one_logit():
    """x = 0: p = 1/2, so -1/4 (1/2)² log(1/2) and -3/4 (1/2)² log(1/2)."""
    loss = sigmoid_focal_loss(
        torch.zeros(1, 2), torch.tensor([1]), reduction='none'
    )
    torch.testing.assert_close(
        loss, math.log(2) / 16 * torch.tensor([[3.0, 1.0]])
    )


@pytest.mark.parametrize('weight', [None, WEIGHT])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_sigmoid_gradient(gamma, weight, reduction):
    assert torch.autograd.gradcheck(
        lambda x: sigmoid_focal_loss(
            x, TARGET, gamma, 0.25, weight, reduction
        ),
        _logits().requires_grad_(),
    )


@pytest.mark.parametrize('loss', [sigmoid_focal_loss, softmax_focal_loss])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_extreme_logits_are_finite(loss, gamma):
    logits = torch.tensor(
        [[400.0, -400.0], [-400.0, 400.0]], requires_grad=True
    )
    value = loss(logits, torch.tensor([0, 0]), gamma, 0.25, None, 'sum')
    value.backward()
    assert value.isfinite() and value >= 100
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('weight', [None, WEIGHT])
@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (0.0, 1.0), (0.5, 0.9)])
def test_softmax_matches_the_formula(gamma, alpha, weight):
    logits, target = _logits(), torch.tensor([0, 2, -1, 1])
    expected = torch.zeros(4, dtype=torch.float64)
    for n in (0, 1, 3):
        exps = [math.exp(x) for x in logits[n].tolist()]
        p = exps[target[n]] / sum(exps)
        expected[n] = -alpha * (1 - p) ** gamma * math.log(p)
        if weight is not None:
            expected[n] *= weight[target[n]]
    arguments = (logits, target, gamma, alpha, weight)
    torch.testing.assert_close(
        softmax_focal_loss(*arguments, 'none'), expected
    )
    torch.testing.assert_close(
        softmax_focal_loss(*arguments, 'sum'), expected.sum()
    )
    torch.testing.assert_close(
        softmax_focal_loss(*arguments), expected.sum() / 4
    )


@pytest.mark.parametrize('weight', [None, WEIGHT])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_gradient(gamma, weight):
    logits = _logits().requires_grad_()
    target = torch.tensor([0, 2, -1, 1])
    assert torch.autograd.gradcheck(
        lambda x: softmax_focal_loss(x, target, gamma, 0.25, weight), logits
    )
    softmax_focal_loss(logits, target).backward()
    assert not logits.grad[2].any() and logits.grad[[0, 1, 3]].all()


@pytest.mark.parametrize('loss', [sigmoid_focal_loss, softmax_focal_loss])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_computes_in_fp32(loss, dtype):
    low = _logits(4, torch.float32).to(dtype).requires_grad_()
    high = low.detach().float().requires_grad_()
    value = loss(low, TARGET)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(high, TARGET))
    value.backward()
    loss(high, TARGET).backward()
    assert low.grad.dtype == dtype
    assert torch.equal(low.grad, high.grad.to(dtype))


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('loss', [sigmoid_focal_loss, softmax_focal_loss])
def test_no_rows(loss, reduction):
    logits = torch.zeros(0, 3, requires_grad=True)
    value = loss(logits, torch.zeros(0).long(), 2.0, 0.25, None, reduction)
    value.sum().backward()
    assert value.sum() == 0 and logits.grad.shape == (0, 3)


@pytest.mark.parametrize('loss', [sigmoid_focal_loss, softmax_focal_loss])
def test_bad_arguments_are_refused(loss):
    logits = _logits(4)
    with pytest.raises(ValueError, match=r'target \(N,\)'):
        loss(logits, TARGET[:3])
    with pytest.raises(TypeError, match='int64'):
        loss(logits, TARGET.float())
    with pytest.raises(ValueError, match=r'weight must be \(C,\) = \(4,\)'):
        loss(logits, TARGET, 2.0, 0.25, WEIGHT)
    with pytest.raises(ValueError, match="got 'average'"):
        loss(logits, TARGET, reduction='average')


@pytest.mark.parametrize(
    'module, function',
    [
        (SigmoidFocalLoss, sigmoid_focal_loss),
        (SoftmaxFocalLoss, softmax_focal_loss),
    ],
)
def test_modules_call_the_functions(module, function):
    target = torch.tensor([0, 2, 1, 1])
    layer = module(1.5, 0.4, weight=WEIGHT, reduction='sum')
    assert torch.equal(
        layer(_logits(), target),
        function(_logits(), target, 1.5, 0.4, WEIGHT, 'sum'),
    )
    assert list(dict(layer.named_buffers())) == ['weight']
    assert 'gamma=1.5, alpha=0.4, reduction=sum' in repr(layer)
