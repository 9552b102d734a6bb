"""docs/tutorial.md: its commands, in their order, lead to a student."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from luminet_mm.recipe import configs

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs' / 'tutorial.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'^```(bash|python)\n(.*?)^```', TEXT, re.M | re.S)
SHORTER = {  # the same commands, with less to do
    'make_digits.py --out': 'make_digits.py --train 60 --val 20 --out',
    '--budget 15m': '--epochs 1',
    'pip install onnx onnxruntime onnxscript\n': '',
}


def test_the_steps_are_in_order():
    tools = re.findall(r'tools/(\w+)\.py', ' '.join(b for _, b in BLOCKS))
    assert tools == [
        'make_digits',
        'distill',
        'distill',
        'test',
        'publish',
        'export',
    ]
    (python,) = [block for kind, block in BLOCKS if kind == 'python']
    assert 'DetInferencer' in python
    compile(python, 'tutorial', 'exec')


def test_the_folders_are_those_that_distill_writes():
    source = Path(configs.__file__).read_text(encoding='utf-8')
    for name in re.findall(r'distill_my_data/configs/(\w+)\.py', TEXT):
        assert f"'{name}" in source or f'{name}.py' in source, name
    code = ''.join(block for _, block in BLOCKS)
    for old in SHORTER:
        assert old in code


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_it_leads_to_a_student(tmp_path):
    """All of it; little is trained, so what the teacher knows is not asked."""
    onnx = importlib.util.find_spec('onnxscript') is not None
    script = ['set -eu', f'python() {{ "{sys.executable}" "$@"; }}']
    for number, (kind, block) in enumerate(BLOCKS):
        for old, new in SHORTER.items():
            block = block.replace(old, new)
        block = block.replace('tools/', f'{ROOT}/tools/')
        if kind == 'python':
            file = tmp_path / f'block{number}.py'
            file.write_text(block)
            block = f'python {file}\n'
        if 'export.py' in block and not onnx:
            block = block.rstrip() + ' --format torchscript\n'
        script.append(block)
        if '--write-only' in block:
            hook = "dict(type='luminet_mm.DistillMonitorHook'"
            script.append(
                f'sed -i "s/{hook}/{hook}, stop=False/" '
                'work_dirs/distill_my_data/configs/distilled.py\n'
            )
    subprocess.run(
        ['bash', '-c', '\n'.join(script)],
        cwd=tmp_path,
        check=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    work = tmp_path / 'work_dirs/distill_my_data'
    assert (work / 'report.html').is_file()
    assert len([*tmp_path.glob('my_student-*.pth')]) == 1
    assert [*tmp_path.glob('out/vis/*.png')]
    assert [*tmp_path.glob('out/student*')]
