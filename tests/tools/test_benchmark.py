"""tools/benchmark.py: reads no file but the config, writes two."""

import json

import tiny_cls
from mmengine.config import Config


def test_the_tool_reads_no_file_and_writes_two(run_tool, tmp_path, capsys):
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
    flags = [tmp_path / 'run.py', '--batch-size', 2]
    flags += ['--image-size', 32, 32, '--work-dir', tmp_path]
    flags += ['--device', 'cpu']

    def run(*options):
        run_tool('benchmark', *flags, *options)
        said = capsys.readouterr().out
        assert "the same without the teacher's weights" in said
        written = json.loads((tmp_path / 'benchmark.json').read_text())
        assert written['sizes'] == dict(batch_size=2, image_size=[32, 32])
        assert written['config'] == str(tmp_path / 'run.py')
        assert written['memory']['distillation step']['teacher'] > 0
        return said, written

    said, written = run('--memory')
    assert 'milliseconds' not in said and 'seconds' not in written
    assert not (tmp_path / 'benchmark.png').exists()
    said, written = run('--rounds', 2, '--warmup', 1, '--threads', 1)
    assert 'distillation step / (student step + teacher)' in said
    assert written['seconds']['teacher']['median'] > 0
    assert (tmp_path / 'benchmark.png').is_file()
