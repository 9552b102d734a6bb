"""What a figure was measured on."""

import platform
from pathlib import Path

import torch

from luminet_mm.teachers.form import cpu_capabilities


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
    known = cpu_capabilities()
    for key, unit in (('avx512_bf16', 'AVX512-BF16'), ('amx_bf16', 'AMX')):
        if known.get(key):
            units.append(unit)
    return ', '.join([name, *units])
