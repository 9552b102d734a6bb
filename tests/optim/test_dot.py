"""DOT equals the authors' code, and SGD where both momenta are one."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch

from luminet_mm.optim import DOT
from luminet_mm.optim.dot import DISTILL, TASK

GOLDEN = json.loads(
    (Path(__file__).parents[1] / 'golden/dot.json').read_text('utf-8')
)['cases']


def tensors(values):
    return [
        None if each is None else torch.tensor(each, dtype=torch.float64)
        for each in values
    ]


@pytest.mark.parametrize('case', GOLDEN, ids=lambda case: case['name'])
def test_steps_equal_the_authors(case):
    """mdistiller a08d46f, `mdistiller/engine/dot.py`."""
    options, inputs = case['params'], case['inputs']
    task, distill = options['momentum_task'], options['momentum_kd']
    parameters = [p.requires_grad_() for p in tensors(inputs['params'])]
    optimizer = DOT(
        parameters,
        momentum=(task + distill) / 2,
        delta=(distill - task) / 2,
        dampening=options['dampening'],
        weight_decay=options['weight_decay'],
    )
    steps = options['lr'], inputs['task_grads'], inputs['kd_grads']
    for lr, own, added in zip(*steps, strict=True):
        optimizer.param_groups[0]['lr'] = lr
        with optimizer.distilling():
            for p, grad in zip(parameters, tensors(added), strict=True):
                p.grad = grad
        for p, grad in zip(parameters, tensors(own), strict=True):
            p.grad = grad
        optimizer.step()
        optimizer.zero_grad()
    close = dict(rtol=1e-8, atol=1e-10)
    wanted = case['expected']
    for i, p in enumerate(parameters):
        torch.testing.assert_close(
            p.detach(), tensors(wanted['params'])[i], **close
        )
        for key, buffers in (
            (TASK, wanted['task_buffers']),
            (DISTILL, wanted['kd_buffers']),
        ):
            buffer = tensors(buffers)[i]
            assert (buffer is None) == (key not in optimizer.state[p])
            if buffer is not None:
                torch.testing.assert_close(
                    optimizer.state[p][key], buffer, **close
                )


def train(kind, steps=6, stop=4, **options):
    """Weights after some steps; the last ones without distillation."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2).double()
    optimizer = kind(
        model.parameters(), lr=0.1, momentum=0.8, weight_decay=0.1, **options
    )
    for step in range(steps):
        image = torch.rand(5, 3, dtype=torch.float64)
        task, distill = model(image).square().mean(), model(image).sin().sum()
        if kind is DOT:
            with optimizer.distilling():
                if step < stop:
                    distill.backward(retain_graph=True)
            task.backward()
        else:
            (task + distill * (step < stop)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_delta_0_is_sgd():
    """Also once distillation has ended: its momentum goes on."""
    torch.testing.assert_close(train(DOT, delta=0.0), train(torch.optim.SGD))
    assert not torch.allclose(train(DOT, delta=0.1), train(torch.optim.SGD))


def test_a_step_with_one_kind_of_gradient_has_the_usual_momentum():
    """Else the learning rate of what remains would change with it."""
    p = torch.ones(1, requires_grad=True)
    optimizer = DOT([p], lr=1.0, momentum=0.5, delta=0.25)
    with optimizer.distilling():
        p.grad = torch.ones(1)
    p.grad = torch.ones(1)
    optimizer.step()
    optimizer.zero_grad()
    p.grad = torch.ones(1)
    optimizer.step()
    assert optimizer.state[p][TASK] == 1.5
    assert optimizer.state[p][DISTILL] == 0.5


def test_without_any_gradient_nothing_moves():
    p = torch.ones(1, requires_grad=True)
    optimizer = DOT([p], lr=1.0, weight_decay=0.5)
    optimizer.step()
    assert p == 1
    assert not optimizer.state[p]


def test_gradients_of_both_kinds_add_up_apart():
    p = torch.ones(1, requires_grad=True)
    optimizer = DOT([p])
    for _ in range(3):
        with optimizer.distilling():
            (2 * p).sum().backward()
        p.sum().backward()
    assert p.grad == 3
    assert optimizer.distill_grads[p] == 6
    optimizer.zero_grad()
    assert p.grad is None
    assert not optimizer.distill_grads


def test_groups_keep_their_own_options():
    a, b = (torch.ones(1, requires_grad=True) for _ in range(2))
    groups = [dict(params=[a], lr=1.0), dict(params=[b], lr=2.0)]
    optimizer = DOT(groups)
    (a + b).sum().backward()
    optimizer.step()
    assert (a.item(), b.item()) == (0.0, -1.0)


def test_copies_and_states_keep_everything():
    p = torch.ones(1, requires_grad=True)
    optimizer = DOT([p], delta=0.05)
    with optimizer.distilling():
        p.sum().backward()
    p.sum().backward()
    optimizer.step()
    for other in (
        copy.deepcopy(optimizer),
        pickle.loads(pickle.dumps(optimizer)),
    ):
        assert other.delta == 0.05
        assert other.distill_grads == {}
    state = optimizer.state_dict()
    other = DOT([torch.ones(1, requires_grad=True)])
    other.load_state_dict(state)
    assert set(other.state_dict()['state'][0]) == {TASK, DISTILL}


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(momentum=0.0), 'momentum is 0.0'),
        (dict(delta=0.1), r'delta is 0.1 at momentum 0.9.*below 0.1\.'),
        (dict(momentum=0.05), 'delta is 0.075'),
        (dict(delta=-0.1), 'delta is -0.1'),
        (dict(delta=float('nan')), 'delta is nan'),
        (dict(nesterov=True), 'nesterov=True'),
        (dict(maximize=True), 'maximize=True'),
    ],
)
def test_what_does_not_go_with_two_momenta_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DOT([torch.ones(1, requires_grad=True)], **options)


def test_a_closure_gives_both_kinds():
    p = torch.ones(1, requires_grad=True)
    optimizer = DOT([p], lr=1.0)

    def closure():
        optimizer.zero_grad()
        with optimizer.distilling():
            p.sum().backward()
        p.sum().backward()
        return p.detach().clone()

    assert optimizer.step(closure) == 1
    assert p == -1
