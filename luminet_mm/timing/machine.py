"""What a figure was measured on."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def processor() -> str:
    """The processor's name, and what of its vector units torch uses."""
    name = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                name = line.partition(':')[2].strip()
                break
    units = [torch.backends.cpu.get_cpu_capability()]
    ask = getattr(torch.cpu, 'get_capabilities', dict)  # of newer torch
    known: Mapping[str, Any] = ask()
    for key, unit in (('avx512_bf16', 'AVX512-BF16'), ('amx_bf16', 'AMX')):
        if known.get(key):
            units.append(unit)
    return ', '.join([name, *units])
