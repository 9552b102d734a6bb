"""What a run of a sweep starts with, and why it ended."""

import json
import os

import pytest

from luminet_mm.launch import cells


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {3}, False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    assert cells.usable_cores() == 1


def test_what_the_user_set_is_kept(monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setenv('OMP_WAIT_POLICY', 'ACTIVE')
    found = cells.environment(3)
    assert found['OMP_NUM_THREADS'] == '3'
    assert found['OMP_WAIT_POLICY'] == 'ACTIVE'
    assert set(os.environ) <= set(found)


def test_settings_are_read_as_they_were_written(tmp_path):
    path = tmp_path / 'settings.json'
    settings = dict(config='a.py', options={'x': '1'}, sha256='0')
    path.write_text(json.dumps(dict(settings, more=1)))
    assert cells.read_settings(path) == settings
    path.write_text('{"config": "a.py", "options": 3, "sha256": ""}')
    with pytest.raises(ValueError, match='cannot be read .*options is 3'):
        cells.read_settings(path)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'nothing was printed'),
        ('one\ntwo\n', 'two'),
        ('error: of weights\nThe traceback is in a file\n', 'error: of wei'),
        ('\udcff', '\ufffd'),
    ],
)
def test_a_reason_is_an_error_or_the_last_line(tmp_path, text, reason):
    log = tmp_path / 'train.log'
    before = b'error: of the run before\n'
    log.write_bytes(before + text.encode(errors='surrogateescape'))
    found = cells.reason_of(log, len(before))
    assert found.startswith(reason) and found.endswith(f'(see {log})')
