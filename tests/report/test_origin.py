"""Commands and versions."""

import json

from made_runs import config, write_run

from luminet_mm.report.origin import (
    command_of,
    commands,
    environment_of,
    own_command,
    versions,
)
from luminet_mm.report.runs import read_run
from luminet_mm.version import __version__

LOG = """
2026/11/29 15:35:03 - mmengine - INFO - config my configs/a.py, work dir /w
2026/11/29 15:35:03 - mmengine - INFO -
------------------------------------------------------------
System environment:
    sys.platform: linux
    Python: 3.11.7 (main)
    GPU 0,1,2: NVIDIA H200
    PyTorch: 2.14.1
    PyTorch compiling details: PyTorch built with:
  - GCC 13.3
    MMEngine: 0.10.12

Runtime environment:
    seed: 100
"""


def test_the_command_of_a_sweep(tmp_path):
    settings = dict(config(), work_dir='work_dirs/s/a_seed0')
    run = read_run(write_run(tmp_path / 'a_seed0', settings, [0.1]))
    assert command_of(run) == ''
    options = {'model.distill.loss_kd.tau': '2', 'randomness.seed': '0'}
    (tmp_path / 'a_seed0/settings.json').write_text(
        json.dumps(dict(config='configs/kd.py', options=options, sha256='x'))
    )
    assert command_of(run) == (
        'python tools/train.py configs/kd.py --work-dir work_dirs/s/a_seed0 '
        '--cfg-options model.distill.loss_kd.tau=2 randomness.seed=0'
    )
    assert commands([run, run]) == [command_of(run)]


def test_command_and_environment_are_in_the_log(tmp_path):
    folder = write_run(tmp_path / 'a', config(), [0.1], '20260101_000000')
    (folder / '20260101_000000/x.log').write_text(LOG)
    run = read_run(folder)
    assert command_of(run) == (
        "python tools/train.py 'my configs/a.py' --work-dir a"
    )
    assert environment_of(run) == [
        ('sys.platform', 'linux'),
        ('Python', '3.11.7 (main)'),
        ('GPU 0,1,2', 'NVIDIA H200'),
        ('PyTorch', '2.14.1'),
        ('MMEngine', '0.10.12'),
    ]
    assert run.seed == 0  # the config's, not the log's


def test_the_command_of_an_evaluation_names_its_checkpoint(tmp_path):
    settings = dict(config(), load_from='best.pth')
    folder = write_run(tmp_path / 'a', settings, [], '20260101_000000')
    start = folder / '20260101_000000'
    (start / 'vis_data/scalars.json').unlink()
    (start / f'{start.name}.json').write_text('{"coco/bbox_mAP": 0.5}')
    (start / 'x.log').write_text(LOG)
    assert command_of(read_run(folder)) == (
        "python tools/test.py 'my configs/a.py' best.pth --work-dir a"
    )


def test_the_command_of_the_page(monkeypatch):
    monkeypatch.setattr('sys.argv', ['tools/report.py', 'a b', '--images=0'])
    assert own_command() == "python tools/report.py 'a b' --images=0"
    monkeypatch.setattr('sys.argv', ['/x/report/__main__.py', 'a'])
    assert own_command() == 'python -m luminet_mm.report a'


def test_versions_of_what_is_installed():
    found = dict(versions())
    assert found['luminet_mm'] == __version__ and 'onedl-mmengine' in found
