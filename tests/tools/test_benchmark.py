"""tools/benchmark.py: reads no file but the config, writes two."""

import json
import subprocess
import sys
from pathlib import Path

import tiny_cls
from mmengine.config import Config

ROOT = Path(__file__).parents[2]


def test_the_tool_reads_no_file_and_writes_two(tmp_path):
    sgd = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    cfg = Config(
        dict(
            model=tiny_cls.distiller(),
            default_scope='mmpretrain',
            optim_wrapper=sgd,
        )
    )
    cfg.model.teacher.checkpoint = 'not/there.pth'
    cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='not/there.pth'
    )
    cfg.dump(tmp_path / 'run.py')
    command = [sys.executable, 'tools/benchmark.py', str(tmp_path / 'run.py')]
    command += ['--batch-size', '2', '--image-size', '32', '32']
    command += ['--rounds', '2', '--warmup', '1', '--threads', '1']
    command += ['--work-dir', str(tmp_path), '--device', 'cpu']
    said = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert 'distillation step / (student step + teacher)' in said
    written = json.loads((tmp_path / 'benchmark.json').read_text())
    assert written['sizes'] == dict(batch_size=2, image_size=[32, 32])
    assert (tmp_path / 'benchmark.png').is_file()
