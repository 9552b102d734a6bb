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
