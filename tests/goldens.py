"""Reference numbers in tests/golden, as tensors."""

import json
from pathlib import Path

import pytest
import torch

_FOLDER = Path(__file__).parent / 'golden'


def golden_cases(method):
    """The cases of one method, for ``pytest.mark.parametrize``."""
    cases = json.loads((_FOLDER / f'{method}.json').read_text())['cases']
    return [pytest.param(case, id=case['name']) for case in cases]


def golden_logits(case):
    """Student's logits, which ask for a gradient, and the teacher's."""
    student, teacher = (
        torch.tensor(case['inputs'][f'{side}_logits'], dtype=torch.float64)
        for side in ('student', 'teacher')
    )
    return student.requires_grad_(), teacher


def assert_golden(loss, student, case, rtol=1e-8, atol=1e-12):
    """Loss and gradient equal the case's."""
    expected = case['expected']
    torch.testing.assert_close(
        loss, loss.new_tensor(expected['loss']), rtol=rtol, atol=atol
    )
    (grad,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(
        grad,
        grad.new_tensor(expected['grad']['student_logits']),
        rtol=rtol,
        atol=atol,
    )


def golden_inputs(case, *names):
    """Inputs of a case; the student's ask for a gradient.

    ``…_feats`` and ``gt_boxes`` are lists, with one tensor per level or image.
    """
    values = []
    for name in names:
        value = case['inputs'][name]
        several = name.endswith(('feats', 'boxes'))
        tensors = [
            torch.tensor(item, dtype=torch.float64).requires_grad_(
                name.startswith('student')
            )
            for item in (value if several else [value])
        ]
        values.append(tensors if several else tensors[0])
    return values


def golden_state(case, module):
    """The weights of one of a case's modules, as a state dict."""
    state = case['params']['modules'][module]['state_dict']
    return {
        key: torch.tensor(
            value,
            dtype=torch.int64 if key.endswith('tracked') else torch.float64,
        )
        for key, value in state.items()
    }


def assert_golden_grads(loss, case, inputs, weights=None, rtol=1e-7):
    """Loss and gradients equal the case's.

    Args:
        loss: The computed loss.
        case: The golden case.
        inputs: Student's inputs by the case's names, tensors or lists.
        weights: For a module's name its parameters by the case's keys.
    """
    expected = case['expected']
    pairs = []
    for name, value in inputs.items():
        wanted = expected['grad'][name]
        if isinstance(value, torch.Tensor):
            value, wanted = [value], [wanted]
        pairs += [*zip(value, wanted, strict=True)]
    for module, parameters in (weights or {}).items():
        wanted = expected['grad_weights'][module]
        pairs += [(p, wanted[key]) for key, p in parameters.items()]
    torch.testing.assert_close(
        loss, loss.new_tensor(expected['loss']), rtol=rtol, atol=1e-10
    )
    grads = torch.autograd.grad(
        loss, [tensor for tensor, _ in pairs], allow_unused=True
    )
    for (tensor, wanted), grad in zip(pairs, grads, strict=True):
        grad = torch.zeros_like(tensor) if grad is None else grad
        torch.testing.assert_close(
            grad, grad.new_tensor(wanted), rtol=rtol, atol=1e-10
        )
