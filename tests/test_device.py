"""Runs the tests of ``device_cases.py``, in a process of their own.

Once torch knows another device, it pins memory for it, for instance, which
the emulated one cannot do: the tests of this process would break.
"""

from pathlib import Path

import fresh
import pytest

CASES = Path(__file__).with_name('device_cases.py')


@pytest.mark.slow
def test_the_device_is_that_of_the_cpu(monkeypatch):
    monkeypatch.delenv('PYTEST_XDIST_WORKER', raising=False)
    done = fresh.run(['-m', 'pytest', '-q', '-p', 'no:cacheprovider', CASES])
    assert done.returncode == 0, done.stdout[-5000:]
    assert ' passed' in done.stdout
