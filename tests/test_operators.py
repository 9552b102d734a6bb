"""mmcv.ops is served when it is needed, whoever asks first."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import fresh
import pytest

ROOT = Path(__file__).parents[1]
without_ext = pytest.mark.skipif(
    importlib.util.find_spec('mmcv._ext') is not None,
    reason='mmcv is installed with its compiled extension',
)


def run(code):
    """The last line that code prints in a new process."""
    process = fresh.run(['-c', textwrap.dedent(code)])
    assert process.returncode == 0, process.stderr
    return process.stdout.strip().splitlines()[-1]


@without_ext
def test_the_package_alone_imports_nothing():
    code = """
        import sys
        import luminet_mm
        import luminet_mm.operators as operators
        heavy = {'torch', 'torchvision', 'mmcv', 'mmdet', 'mmpretrain'}
        assert not heavy & set(sys.modules)
        finders = [type(each).__name__ for each in sys.meta_path]
        assert finders.count('Operators') == 1
        operators.serve_operators()
        assert [type(each).__name__ for each in sys.meta_path] == finders

        from importlib.util import find_spec
        assert find_spec('mmdet').origin.endswith('__init__.py')
        assert 'torch' not in sys.modules
        print('nothing')
    """
    result = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
    )
    assert result.stdout == 'nothing\n', result.stderr


@without_ext
def test_it_serves_everything():
    """By name, as a stock script, as a config type, and by module."""
    assert (
        run("""
            import sys
            import luminet_mm
            from mmcv.ops import roi_align
            assert roi_align.__module__ == 'luminet_mm.ops.roi'
            assert 'Operators' not in [
                type(each).__name__ for each in sys.meta_path]
            import mmcv.ops
            from luminet_mm.ops.standin import StandIn
            assert type(mmcv.ops) is StandIn is type(sys.modules['mmcv.ops'])
            assert mmcv.ops.__spec__.name == 'mmcv.ops'
            assert type(mmcv.ops.__loader__).__name__ != 'AsItIs'
            from mmcv.ops.nms import batched_nms
            assert batched_nms is mmcv.ops.batched_nms
            from mmengine.registry import MODELS
            assert MODELS.get('DCNv2') is mmcv.ops.ModulatedDeformConv2dPack
            print('served')
        """)
        == 'served'
    )


@without_ext
@pytest.mark.parametrize('zoo', ['mmdet', 'mmpretrain'])
def test_a_zoo_finds_the_operators(zoo):
    assert (
        run(f"""
            import sys
            import luminet_mm
            import {zoo}
            assert type(sys.modules['mmcv.ops']).__name__ == 'StandIn'
            # the zoo's own loader has it, with its files and sources
            import inspect
            loader = {zoo}.__spec__.loader
            assert type(loader).__name__ == 'SourceFileLoader', loader
            assert {zoo}.__loader__ is loader
            assert '__version__' in inspect.getsource({zoo})
            from mmengine.registry import MODELS
            ops = sys.modules['mmcv.ops']
            assert MODELS.get('DCN') is ops.DeformConv2dPack
            print('found')
        """)
        == 'found'
    )


def test_a_failure_is_repeated():
    """MMPretrain goes on when its first import of MMDetection fails."""
    assert (
        run("""
            import sys
            import luminet_mm
            from luminet_mm import operators
            class Broken:
                def install(self):
                    raise ImportError('torchvision is for another torch')
            operators.standin = Broken()
            for module in ('mmdet', 'mmpretrain', 'mmdet', 'mmcv.ops'):
                try:
                    __import__(module)
                except ImportError as error:
                    assert 'for another torch' in str(error), error
                else:
                    raise AssertionError(module)
                assert module not in sys.modules
            print('repeated')
        """)
        == 'repeated'
    )
