"""CTKD equals the authors' code, and works in every loss with a `tau`."""

import re
from pathlib import Path

import pytest
import torch
from goldens import golden_cases
from losses.contracts import DenseContract
from losses.temperature import assert_climbs, assert_same_for_the_student

from luminet_mm import losses
from luminet_mm.hooks.schedule import LossSchedule
from luminet_mm.losses import (
    CTKD,
    BinaryKDLoss,
    CWDLoss,
    DenseLumiNetLoss,
    DETRDistillLoss,
    DistillBatch,
    DistillLoss,
    DISTLoss,
    DKDLoss,
    FGDLoss,
    KDLoss,
    LDRLDLoss,
    LogitStandardizationKDLoss,
    LumiNetLoss,
    MLLDLoss,
    NKDLoss,
    NormKDLoss,
    RLDLoss,
    SKDLoss,
    WSLDLoss,
)
from luminet_mm.losses.base.ctkd import read_temperature

CASES = golden_cases('ctkd')
SCHEDULES = [case for case in CASES if 'loops' in case.values[0]['params']]
LOSSES = (
    KDLoss,
    DKDLoss,
    DISTLoss,
    LumiNetLoss,
    LogitStandardizationKDLoss,
    NKDLoss,
    WSLDLoss,
    CWDLoss,
    NormKDLoss,
    RLDLoss,
    LDRLDLoss,
    SKDLoss,
)


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize(
    'case', [case for case in CASES if case not in SCHEDULES]
)
def test_golden(case):
    """zhengli97/CTKD 7d52522: the loss, and gradients of both sides."""
    options, wanted = case['params'], case['expected']
    loss = KDLoss(tau=dict(start=options['t_start'], end=options['t_end']))
    loss.double()
    (raw,) = case['inputs']['temperature_param']
    loss.temperature.raw.data.fill_(raw)
    loss.part_factors['temperature'] = -options['reversal']
    student = tensor(case['inputs']['student_logits']).requires_grad_()
    value = loss(student, tensor(case['inputs']['teacher_logits']))
    value.backward()
    close = dict(rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(value, tensor(wanted['loss']), **close)
    torch.testing.assert_close(
        loss.tau, tensor(wanted['temperature'][0]), **close
    )
    gradients = wanted['grad']
    torch.testing.assert_close(
        student.grad, tensor(gradients['student_logits']), **close
    )
    torch.testing.assert_close(
        loss.temperature.raw.grad,
        tensor(gradients['temperature_param'][0]),
        **close,
    )


@pytest.mark.parametrize('case', SCHEDULES)
def test_golden_schedule(case):
    """A warm-up is the reversal, with the sign of the strength."""
    options, wanted = case['params'], case['expected']
    spread = options['decay_max'] - options['decay_min']
    for shape in ('cosine', 'linear'):
        schedule = LossSchedule(
            warmup=options['loops'], unit='epoch', shape=shape
        )
        found = [
            options['decay_max'] - spread * schedule.factor(epoch)
            for epoch in options['epochs']
        ]
        assert found == pytest.approx(
            wanted[f'reversal_{shape}'], rel=1e-8, abs=1e-10
        )


def inputs(loss):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 4, 2, 3) if loss is CWDLoss else (6, 5)
    student, teacher = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    labels = torch.randint(0, 5, (6,), generator=generator)
    return student, teacher, DistillBatch(labels=labels)


@pytest.mark.parametrize('kind', LOSSES)
def test_the_temperature_climbs_where_the_student_descends(kind):
    loss = kind(tau=dict(start=0.5, end=3.0), loss_weight=2.0).double()
    student, teacher, batch = inputs(kind)
    student.requires_grad_()
    assert_climbs(loss, lambda each: each(student, teacher, batch))
    number = kind(tau=loss.tau.item(), loss_weight=2.0)
    torch.testing.assert_close(
        loss(student, teacher, batch), number(student, teacher, batch)
    )


@pytest.mark.parametrize('kind', [BinaryKDLoss, DenseLumiNetLoss])
def test_points_of_dense_heads(kind):
    class Dense(DenseContract):
        loss = kind

    loss = kind(tau=dict(start=0.5, end=3.0)).double()
    assert_same_for_the_student(
        loss, lambda each: Dense.gradients(each, *Dense.case())
    )
    assert_climbs(loss, lambda each: each(*Dense.case()))


def test_a_row_of_luminet_gives_it_a_gradient_of_0():
    loss = LumiNetLoss(tau='learned')
    loss(torch.rand(1, 5, requires_grad=True), torch.rand(1, 5)).backward()
    assert loss.temperature.raw.grad == 0


def test_the_student_learns_as_with_a_number():
    student, teacher, _ = inputs(KDLoss)
    loss = KDLoss(tau='learned').double()
    grads = []
    for each in (loss, KDLoss(tau=loss.tau.item())):
        leaf = student.clone().requires_grad_()
        each(leaf, teacher).backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads)


def test_without_strength_it_stays():
    loss = KDLoss(tau='learned').double()
    loss.part_factors['temperature'] = 0.0
    student, teacher, _ = inputs(KDLoss)
    loss(student, teacher).backward()
    assert loss.temperature.raw.grad == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    student, teacher, _ = inputs(KDLoss)
    loss = KDLoss(tau='learned')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(student.to(dtype).requires_grad_(), teacher.to(dtype))
    value.backward()
    assert value.dtype == loss.temperature.raw.grad.dtype == torch.float32
    exact = loss(student.to(dtype).float(), teacher.to(dtype).float())
    torch.testing.assert_close(value, exact)


def test_no_rows_give_it_a_gradient_of_0():
    """DDP waits for every parameter."""
    loss = KDLoss(tau='learned')
    loss(torch.zeros(0, 5, requires_grad=True), torch.zeros(0, 5)).backward()
    assert loss.temperature.raw.grad == 0


def test_it_is_in_the_state_and_the_text():
    loss = KDLoss(tau='learned')
    assert list(loss.state_dict()) == ['temperature.raw']
    assert 'CTKD(start=1.0, end=20.0)' in str(loss)
    assert 'tau=3.0' in str(KDLoss(tau=3.0))
    assert not KDLoss(tau=3.0).state_dict()


def share(rank, world_size):
    """The gradient of the temperature of this rank's rows; in a process."""
    student, teacher, _ = inputs(KDLoss)
    rows = slice(0, 4) if rank == 0 else slice(4, 6)
    loss = KDLoss(tau='learned').double()
    loss(student[rows].requires_grad_(), teacher[rows]).backward()
    grad = loss.temperature.raw.grad
    torch.distributed.all_reduce(grad)
    return grad / world_size


@pytest.mark.two_ranks(run=share)
def test_two_ranks_equal_one(two_ranks):
    student, teacher, _ = inputs(KDLoss)
    loss = KDLoss(tau='learned').double()
    loss(student.requires_grad_(), teacher).backward()
    for grad in two_ranks:
        torch.testing.assert_close(grad, loss.temperature.raw.grad)


@pytest.mark.parametrize(
    'tau, message',
    [
        (dict(begin=1), 'KDLoss: tau is .*begin.*set a number, .learned.'),
        (dict(type='Other'), 'KDLoss: tau is'),
        (dict(start=-1), 'KDLoss: tau: start is -1; set a finite number >= 0'),
        (dict(end=0), 'KDLoss: tau: end is 0; set a finite number > 0'),
        (dict(end=float('inf')), 'end is inf'),
        (dict(end='2'), "end is '2'"),
        ('leaned', "tau is 'leaned'"),
    ],
)
def test_wrong_options_name_the_loss(tau, message):
    with pytest.raises(ValueError, match=message):
        KDLoss(tau=tau)


@pytest.mark.parametrize('kind', [FGDLoss, MLLDLoss])
def test_a_tau_of_another_meaning_is_not_learned(kind):
    """FGD's attention, and MLLD's list of temperatures."""
    for tau in ('learned', dict(start=1.0)):
        with pytest.raises(ValueError, match='tau is'):
            kind(tau=tau)


def learns(kind):
    options = dict(classes='luminet') if kind is DETRDistillLoss else {}
    try:
        return kind(tau='learned', **options).temperature is not None
    except (TypeError, ValueError):
        return False


def test_the_page_names_every_loss_that_learns_it():
    page = Path(__file__).parents[3].joinpath('docs', 'losses.md')
    section = page.read_text().split('## A temperature that is learned')[1]
    paragraph = section.split('\nIt works in ')[1].split('To combine it')[0]
    kinds = [getattr(losses, name) for name in losses.__all__]
    assert set(re.findall(r'`(\w+Loss)`', paragraph)) == {
        kind.__name__
        for kind in kinds
        if isinstance(kind, type)
        and issubclass(kind, DistillLoss)
        and learns(kind)
    }


def test_options_are_read():
    assert read_temperature(2.0, 'KDLoss') is None
    found = read_temperature(
        dict(type='luminet_mm.CTKD', start=2, end=3), 'KDLoss'
    )
    assert isinstance(found, CTKD)
    assert (found.start, found.end) == (2, 3)
    assert BinaryKDLoss(tau='learned').temperature is not None
