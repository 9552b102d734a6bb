"""How the runs came about: commands, and the versions that ran them."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import sys
from collections.abc import Sequence

from luminet_mm.report.runs import Run
from luminet_mm.version import __version__

# Of what MMEngine's collect_env writes at the top of a log.
KEYS = (
    'sys.platform',
    'Python',
    'CUDA available',
    'GPU 0',
    'GPU 0,1',
    'NVCC',
    'PyTorch',
    'TorchVision',
    'OpenCV',
    'MMEngine',
)
PACKAGES = (
    'onedl-mmengine',
    'onedl-mmcv',
    'onedl-mmdetection',
    'onedl-mmpretrain',
)


def command_of(run: Run) -> str:
    """The command that trains a run again; empty if it is not known."""
    config, options = '', {}
    try:
        content = json.loads((run.folder / 'settings.json').read_text())
        config, options = str(content['config']), dict(content['options'])
    except (OSError, ValueError, KeyError, TypeError):
        found = re.search(r'INFO - config (.+?), work dir ', run.head)
        if found:
            config = found[1]
    if not config:
        return ''
    words = ['python', 'tools/train.py', config]
    if run.tested:
        checkpoint = run.settings.get('load_from') or 'CHECKPOINT'
        words = ['python', 'tools/test.py', config, str(checkpoint)]
    where = run.settings.get('work_dir') or run.folder.name
    words += ['--work-dir', str(where)]
    if options:
        words.append('--cfg-options')
        words += [f'{key}={value}' for key, value in options.items()]
    return shlex.join(words)


def environment_of(run: Run) -> list[tuple[str, str]]:
    """Versions and hardware, as the run's log has them."""
    part = run.head.partition('System environment:')[2]
    part = part.partition('Runtime environment:')[0]
    found = dict(
        line.strip().partition(': ')[::2]
        for line in part.splitlines()
        if line.startswith('    ')
    )
    return [
        (key, value)
        for key, value in found.items()
        if key in KEYS or key.startswith('GPU ')
    ]


def versions() -> list[tuple[str, str]]:
    """Versions of the packages that are installed where the page is made."""
    found = [('luminet_mm', __version__)]
    for name in PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def own_command() -> str:
    """The command that made the page."""
    tool = sys.argv[0]
    words = ['python', tool]
    if tool.endswith('__main__.py'):
        words = ['python', '-m', 'luminet_mm.report']
    return shlex.join([*words, *sys.argv[1:]])


def commands(runs: Sequence[Run]) -> list[str]:
    """The commands of all runs that are known, each once."""
    found = [command_of(run) for run in runs]
    return list(dict.fromkeys(each for each in found if each))
