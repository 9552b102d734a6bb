"""A training that costs nothing, for the tests of sweeps."""

import pytest
from sweeps import FAKE_TRAIN

from luminet_mm.launch import fork_server, grid, training


@pytest.fixture
def train(tmp_path, monkeypatch):
    script = tmp_path / 'train.py'
    script.write_text(FAKE_TRAIN)
    monkeypatch.setattr(training, 'TRAIN', script)
    # a script without imports gains nothing
    monkeypatch.setattr(fork_server, 'can_fork', lambda: False)
    monkeypatch.chdir(tmp_path)
    for name in ('good', 'broken', 'slow', 'diverges'):
        (tmp_path / f'{name}.py').write_text('x = 1')
    grid._fingerprint.cache_clear()
