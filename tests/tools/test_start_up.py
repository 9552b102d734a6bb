"""A usage text and a fault of a config's text take no torch.

By what a process has imported, which is the same on any machine; seconds are
in docs/performance.md.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = sorted(path.stem for path in (ROOT / 'tools').glob('*.py'))
HEAVY = ('torch', 'torchvision', 'mmcv', 'mmdet', 'mmpretrain', 'matplotlib')

# Runs command lines one after the other, and says after each what is there.
SCRIPT = """
import contextlib, io, json, os, runpy, sys
commands, heavy = json.loads(sys.argv[1])
for words in commands:
    sys.argv = list(words)
    said = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            if words[0] == '-m':
                sys.argv = words[1:]
                runpy.run_module(words[1], run_name='__main__')
            else:
                runpy.run_path(words[0], run_name='__main__')
        except SystemExit as error:
            code = error.code
    found = [name for name in heavy if name in sys.modules]
    print(json.dumps([code, said.getvalue(), found]))
"""


def run(*commands):
    """Exit code, output and heavy modules after each command line."""
    process = subprocess.run(
        [sys.executable, '-c', SCRIPT, json.dumps([commands, HEAVY])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    assert process.returncode == 0, process.stderr
    found = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(found) == len(commands)
    return found


def test_a_usage_text_takes_no_torch():
    commands = [[f'tools/{tool}.py', '--help'] for tool in TOOLS]
    commands += [[*'-m luminet_mm --help'.split()]]
    commands += [[*'-m luminet_mm.report --help'.split()]]
    for command, (code, said, heavy) in zip(commands, run(*commands)):
        assert code == 0 and 'usage: ' in said.lower(), command
        assert not heavy, command


CONFIG = 'configs/luminet_frcnn_digits.py'


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--amp'], 'the following arguments are required: config'),
        ([CONFIG, '--launcher', 'x'], "invalid choice: 'x'"),
        ([CONFIG, '--cfg-options', 'a'], "'a': write key=value"),
        (['gone.py'], 'config gone.py does not exist.'),
        (
            [CONFIG, '--cfg-options', 'modle.a=1', 'train_cfg=None'],
            "--cfg-options modle.a: nothing reads it; did you mean 'model'?"
            '\n  - train_cfg: missing; train_dataloader and optim_wrapper',
        ),
        (
            [CONFIG, '--cfg-options', 'model.teacher.checkpoint=gone.pth'],
            '1 fault(s) in the config:\n'
            '  - model.teacher.checkpoint: no file gone.pth; train ',
        ),
        (
            [CONFIG, '--cfg-options', 'model.backbone.type=ResNett'],
            "1 fault(s) in the config:\n  - model.backbone.type: 'ResNett' is "
            "not a registered backbone; did you mean 'ResNet'? Your own is ",
        ),
        (
            ['configs/frcnn_r18_coco.py', '--cfg-options']
            + ['train_dataloader.dataset.data_root=gone/coco'],
            'train_dataloader.dataset.data_root: no folder gone/coco; put '
            'the data there or change the path; `python tools/prepare_coco',
        ),
    ],
)
def test_a_fault_of_the_text_takes_no_torch(words, message):
    ((code, said, heavy),) = run(['tools/train.py', *words])
    assert code in (1, 2)
    assert message in said
    assert not heavy


def test_a_syntax_error_takes_no_torch(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text('model = (\n')
    ((code, said, heavy),) = run(['tools/train.py', str(path)])
    assert code == 1 and 'line 1: syntax error' in said
    assert not heavy
