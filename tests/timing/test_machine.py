"""What figures say of the machine they are from."""

import pytest
import torch

from luminet_mm.timing import machine


@pytest.mark.parametrize(
    ('known', 'units'),
    [
        ({}, []),
        (dict(avx512_bf16=True, amx_bf16=False), ['AVX512-BF16']),
        (dict(avx512_bf16=True, amx_bf16=True), ['AVX512-BF16', 'AMX']),
    ],
)
def test_units_that_compute_bf16_are_named(known, units, monkeypatch):
    monkeypatch.setattr(
        torch.cpu, 'get_capabilities', lambda: known, raising=False
    )
    name, capability, *said = machine.processor().split(', ')
    assert name and said == units
    assert capability == torch.backends.cpu.get_cpu_capability()


def test_older_torch_does_not_know(monkeypatch):
    monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    assert 'AMX' not in machine.processor()
