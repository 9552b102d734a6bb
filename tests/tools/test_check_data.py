"""tools/check_data.py: what it prints and how it ends."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

TOOL = Path(__file__).parents[2] / 'tools/check_data.py'
CONFIG = """
default_scope = 'mmpretrain'
train_dataloader = dict(
    dataset=dict(type='CustomDataset', data_prefix='{root}/train')
)
val_dataloader = dict(
    dataset=dict(type='CustomDataset', data_prefix='{root}/val')
)
"""


@pytest.fixture
def config(tmp_path):
    for phase in ('train', 'val'):
        for name in ('cat', 'dog'):
            folder = tmp_path / phase / name
            folder.mkdir(parents=True)
            for number in range(40):
                Image.new('RGB', (8, 8)).save(folder / f'{number}.png')
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(root=tmp_path))
    return path


def run(*arguments):
    return runpy.run_path(str(TOOL))['main'](list(map(str, arguments)))


def test_good_data(config, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    assert run(config, '--workers', 1) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == '0 fault(s), 0 warning(s)'
    assert 'opening 80 photos' in err and '80/80' in err


def test_warnings_are_no_failure(config, tmp_path, capsys):
    for phase in ('train', 'val'):
        (tmp_path / phase / 'hen').mkdir()
    assert run(config) == 0
    assert 'warning: train_dataloader.dataset: 1 class folder in' in (
        capsys.readouterr().out
    )


def test_faults_of_all_photos_in_several_processes(config, tmp_path, capsys):
    for number in range(40, 130):
        path = tmp_path / f'train/cat/{number}.png'
        path.write_bytes(b'')
    assert run(config, '--workers', 2, '--phases', 'train') == 1
    out, err = capsys.readouterr()
    assert 'fault: train_dataloader.dataset: 90 photos cannot be read' in out
    assert '100.png (the file is empty)' in out
    assert err == 'opening 170 photos\n'


def test_a_config_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / 'gone.py')
    assert stopped.value.code == 1
    assert 'gone.py does not exist' in capsys.readouterr().err
