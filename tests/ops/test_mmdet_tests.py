"""MMDetection's own tests of heads and detectors, over these operators.

They are in its sources and not in its wheel: the environment variable
MMDET_SOURCES names a checkout (onedl-mmdetection, v3.5.1 or near).
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

SOURCES = os.environ.get('MMDET_SOURCES', '')
FOLDERS = ('test_dense_heads', 'test_detectors', 'test_roi_heads')
TESTS = Path(__file__).parents[1]
PATHS = str(TESTS.parent), str(TESTS)
# tests that may fail, and what they say then; none is of an operator
REASONS = {
    # they ask for torchvision's weights of the backbone
    r'test_(conditional_|dab_|deformable_)?detr\b|test_dino\b': 'URLError',
    r'test_kd_single_stage\b': 'URLError',
    r'test_glip\b': 'transformers is not installed',
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not SOURCES, reason="MMDET_SOURCES does not name MMDetection's sources"
)
@pytest.mark.skipif(
    find_spec('parameterized') is None,
    reason="parameterized, which MMDetection's tests need, is not installed",
)
def test_they_pass_or_say_what_else_is_missing(tmp_path):
    where = tmp_path / 'run'
    where.mkdir()
    for name in ('tests', 'configs'):  # not its package: that of the wheel
        (where / name).symlink_to(Path(SOURCES, name).resolve())
    report = tmp_path / 'report.xml'
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'pytest', '-q', '-c']
        + [os.devnull, '--rootdir', '.', '-p', 'no:cacheprovider']
        + ['-p', 'mmdet_plugin', f'--junitxml={report}']
        + [f'tests/test_models/{folder}' for folder in FOLDERS],
        cwd=where,
        env={
            **os.environ,
            'CUDA_VISIBLE_DEVICES': '',
            'PYTHONDONTWRITEBYTECODE': '1',
            'PYTHONPATH': os.pathsep.join(
                [
                    str(TESTS.parent),
                    str(TESTS),
                    os.environ.get('PYTHONPATH', ''),
                ]
            ).rstrip(os.pathsep),
        },
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert report.exists(), run.stdout[-3000:] + run.stderr[-3000:]
    passed, unknown = 0, []
    for case in ElementTree.parse(report).iter('testcase'):
        name = f'{case.get("classname")}::{case.get("name")}'
        problems = [*case.iter('failure'), *case.iter('error')]
        passed += not problems and case.find('skipped') is None
        for problem in problems:
            said = f'{problem.get("message")} {problem.text}'
            known = [
                reason
                for pattern, reason in REASONS.items()
                if re.search(pattern, name)
            ]
            if not any(reason in said for reason in known):
                unknown.append(f'{name}: {problem.get("message")}'[:300])
    assert not unknown, '\n'.join(unknown)
    assert passed > 200
