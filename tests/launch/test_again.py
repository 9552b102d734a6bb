"""The command that continues a run."""

import sys

import pytest

from luminet_mm.launch.again import resume_command


@pytest.mark.parametrize(
    'given',
    [
        'a.py',
        'a.py --resume',
        'a.py --resume old.pth',
        '--resume=old.pth a.py --overwrite',
    ],
)
def test_the_command_that_goes_on(monkeypatch, given):
    words = ['tools/train.py', *given.split(), '--cfg-options', 'a="b c"']
    monkeypatch.setattr(sys, 'argv', words)
    assert resume_command() == (
        'python tools/train.py a.py --cfg-options \'a="b c"\' --resume'
    )
