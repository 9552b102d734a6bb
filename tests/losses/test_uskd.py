"""USKD against its definition, class by class, and end to end."""

import math

import pytest
import tiny_cls
import torch
from losses.contracts import FeatureContract

from luminet_mm.losses import DistillBatch, USKDLoss, uskd_loss


class TestUSKD(FeatureContract):
    """It has no teacher: what a contract says of one is left out."""

    loss = USKDLoss
    options = {'mu': 0.5}
    shapes = [(6, 5), (6, 4, 2, 2)], []
    fewest = 2
    test_a_missing_feature_is_an_error = None
    test_other_rows_are_an_error = None
    test_what_is_not_a_feature_is_an_error = None

    @classmethod
    def batch(cls, student, teacher):
        """Labels that belong to the images' values."""
        first = student[0][:, 0].detach().double()
        return DistillBatch(labels=(first * 1000).long() % 5)

    test_nan_and_inf_name_the_loss_and_the_side = None

    @pytest.mark.parametrize('bad', [float('nan'), float('inf')])
    def test_nan_and_inf_name_the_loss_and_the_student(self, bad):
        student, teacher = self.features()
        student[0][1, 0] = bad
        with pytest.raises(
            FloatingPointError, match="^USKDLoss: the student's features hold"
        ):
            self.value(self.build(), student, teacher)


def slow(logits, weak, targets, alpha, beta, mu):
    """The definition, image by image; every row has its distinct targets."""
    n, c = logits.shape
    s, w = logits.softmax(1), weak.softmax(1)
    order = targets.argsort(dim=1, descending=True)
    total = 0
    for i in range(n):
        names = [int(k) for k in order[i, :2] if targets[i, k] > 0]
        for place, y in enumerate(names):
            column = [
                s[j, order[j, place]] ** 2
                for j in range(n)
                if targets[j, order[j, place]] > 0
            ]
            mean = torch.stack(column).mean()
            soft = (targets[i, y] + s[i, y] ** 2 - mean).detach()
            total = total - alpha * soft * s[i, y].log()
        for k in range(c):
            smooth = 0.9 * targets[i, k] + 0.1 / c
            total = total - mu * smooth * w[i, k].log()
        rest_w = 1 - sum(w[i, y] for y in names) + 1e-6
        rest_s = 1 - sum(s[i, y] for y in names) + 1e-6
        scores = [
            (w[i, k] / rest_w + s[i, k] / rest_s).item() for k in range(c)
        ]
        rank = {
            k: r + 1
            for r, k in enumerate(sorted(range(c), key=lambda k: -scores[k]))
        }
        others = [k for k in range(c) if k not in names]
        norm = sum(1 / rank[k] for k in others)
        mass = sum(logits[i, k].exp() for k in others)
        for k in others:
            target = 1 / rank[k] / norm
            total = total - beta * target * (logits[i, k].exp() / mass).log()
    return total / n


@pytest.mark.parametrize('mixed', [False, True])
def test_the_definition(mixed):
    torch.manual_seed(0)
    logits = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    weak = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    first = torch.nn.functional.one_hot(torch.randint(0, 3, (5,)), 7).double()
    second = torch.nn.functional.one_hot(torch.randint(3, 7, (5,)), 7)
    targets = 0.7 * first + 0.3 * second if mixed else first
    weights = dict(alpha=0.8, beta=0.3, mu=0.2)
    ours = uskd_loss(logits, weak, targets, **weights)
    theirs = slow(logits, weak, targets, **weights)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    for one, other in zip(
        torch.autograd.grad(ours, [logits, weak]),
        torch.autograd.grad(theirs, [logits, weak]),
    ):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-14)


def test_soft_targets_of_one_class_are_hard_labels():
    torch.manual_seed(0)
    loss = USKDLoss().build([torch.randn(4, 5), torch.randn(4, 6, 2, 2)])
    student = [torch.randn(4, 5), torch.randn(4, 6, 2, 2)]
    labels = torch.tensor([0, 3, 3, 1])
    soft = torch.nn.functional.one_hot(labels, 5).float()
    hard = loss(student, None, DistillBatch(labels=labels))
    assert torch.equal(
        hard, loss(student, None, DistillBatch(soft_labels=soft))
    )


def test_a_confident_student_has_finite_gradients():
    logits = torch.tensor([[200.0, 0.0, -200.0]] * 2, requires_grad=True)
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    loss = uskd_loss(logits, logits, targets)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_two_classes_leave_one_other():
    even = torch.zeros(3, 2)
    targets = torch.tensor([[1.0, 0.0]] * 3)
    # the only other class has all of the mass: its term is 0
    assert math.isclose(
        uskd_loss(even, even, targets, mu=0.0), math.log(2), rel_tol=1e-6
    )


def test_no_rows():
    logits = torch.zeros(0, 4, requires_grad=True)
    loss = uskd_loss(logits, logits, torch.zeros(0, 4))
    loss.backward()
    assert loss == 0 and logits.grad is not None


def test_tokens_give_the_class_token():
    tokens = torch.randn(3, 9, 6)
    loss = USKDLoss().build([torch.randn(3, 5), tokens])
    batch = DistillBatch(labels=torch.tensor([0, 1, 2]))
    logits = torch.randn(3, 5)
    assert torch.equal(
        loss([logits, tokens], None, batch),
        loss([logits, tokens[:, 0]], None, batch),
    )


def batch_of_six():
    generator = torch.Generator().manual_seed(0)
    logits, feature = (
        torch.randn(6, d, generator=generator, dtype=torch.float64)
        for d in (5, 4)
    )
    return logits, feature, torch.tensor([0, 3, 3, 1, 4, 2])


def loss_of(logits, feature, labels):
    """The loss, gradients of the features, gradients of the connector."""
    torch.manual_seed(0)
    loss = USKDLoss(mu=0.5).build([logits, feature]).double()
    student = [each.clone().requires_grad_() for each in (logits, feature)]
    value = loss(student, None, DistillBatch(labels=labels))
    value.backward()
    weights = [p.grad for p in loss.parameters()]
    return value.detach(), [each.grad for each in student], weights


def parts(rank, world):
    data = batch_of_six()
    return [
        loss_of(*(each[first:last] for each in data))
        for first, last in ([(0, 4), (4, 6)][rank], [(0, 6), (6, 6)][rank])
    ]


@pytest.mark.two_ranks(run=parts)
def test_two_ranks_equal_one(two_ranks):
    """Uneven and empty parts: the mean of the shares is the loss."""
    value, grads, weights = loss_of(*batch_of_six())
    for shares in zip(*two_ranks, strict=True):
        values, features, connectors = zip(*shares, strict=True)
        torch.testing.assert_close(torch.stack(values).mean(), value)
        for side, grad in enumerate(grads):
            both = torch.cat([each[side] for each in features]) / 2
            torch.testing.assert_close(both, grad)
        for mean, wanted in zip(zip(*connectors, strict=True), weights):
            torch.testing.assert_close(torch.stack(mean).mean(0), wanted)


def test_it_says_what_it_needs():
    with pytest.raises(ValueError, match='name two signals'):
        USKDLoss().build([torch.randn(3, 5)])
    loss = USKDLoss().build([torch.randn(3, 5), torch.randn(3, 6)])
    with pytest.raises(ValueError, match='labels, .*name the logits first'):
        loss([torch.randn(3, 5), torch.randn(3, 6)])
    with pytest.raises(ValueError, match='mu is -1'):
        USKDLoss(mu=-1)


@pytest.mark.parametrize('augments', [None, dict(type='Mixup', alpha=1.0)])
def test_a_student_without_a_teacher(augments, tmp_path):
    student = tiny_cls.classifier(
        **({'augments': augments} if augments else {})
    )
    student.update(
        type='luminet_mm.ClassifierDistiller',
        distill=dict(
            loss_uskd=dict(
                type='luminet_mm.USKDLoss',
                student=['logits', 'backbone.layer3'],
            )
        ),
    )
    runner = tiny_cls.runner(student, tmp_path, max_epochs=1)
    connector = runner.model.distill.loss_uskd.connectors[0].weight
    before = connector.detach().clone()
    runner.train()
    assert not torch.equal(before, connector)
    assert not len(runner.model.teachers)
    logged = runner.message_hub.get_scalar('train/loss_uskd').current()
    assert math.isfinite(logged) and logged != 0
