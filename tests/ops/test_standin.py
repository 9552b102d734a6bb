"""Who serves mmcv.ops, and what the wrong order or set-up says."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import fresh
import pytest

from luminet_mm import ops
from luminet_mm.ops.standin import FALLBACKS, SERVED, install

COMPILED = importlib.util.find_spec('mmcv._ext') is not None
without_ext = pytest.mark.skipif(
    COMPILED, reason='mmcv is installed with its compiled extension'
)
ROOT = Path(ops.__file__).parents[2]


def _run(code):
    """Run code in a new process; returns it."""
    return fresh.run(['-c', textwrap.dedent(code)])


def _last_line(process):
    assert process.returncode == 0, process.stderr
    return process.stdout.strip().splitlines()[-1]


def test_install_is_idempotent():
    import mmcv.ops

    before = sys.modules['mmcv.ops']
    assert install() == install() == ('mmcv' if COMPILED else 'torchvision')
    assert sys.modules['mmcv.ops'] is before is mmcv.ops


@without_ext
def test_serves_package_and_submodules():
    import mmcv.ops
    from mmcv.ops.deform_conv import DeformConv2d
    from mmcv.ops.nms import batched_nms
    from mmcv.ops.roi_align import roi_align

    assert mmcv.ops.roi_align is roi_align is ops.roi_align
    assert mmcv.ops.batched_nms is batched_nms is ops.batched_nms
    assert mmcv.ops.DeformConv2d is DeformConv2d is ops.DeformConv2d
    assert mmcv.ops.nms is ops.nms  # the function, not the submodule
    assert not hasattr(mmcv.ops, 'RoIAlgin')
    assert set(SERVED) <= set(mmcv.ops.__all__)
    assert all(hasattr(mmcv.ops, name) for name in mmcv.ops.__all__)


@without_ext
def test_reuses_what_mmcv_has_in_python():
    import torch
    from mmcv.ops import CornerPool, point_sample
    from mmcv.ops.merge_cells import SumCell
    from mmcv.ops.point_sample import point_sample as same

    assert point_sample is same
    assert point_sample.__module__ == 'mmcv.ops.point_sample'
    assert SumCell.__module__ == 'mmcv.ops.merge_cells'
    image = torch.arange(4.0).view(1, 1, 2, 2)
    assert point_sample(image, torch.full((1, 1, 2), 0.5)).item() == 1.5
    assert CornerPool('right')(image).shape == image.shape


@without_ext
@pytest.mark.parametrize('name', ['RoIAlignRotated', 'nms_rotated'])
def test_other_operators_raise_when_used(name):
    import mmcv.ops

    operator = getattr(mmcv.ops, name)
    subclass = type('Mine', (operator,), {})  # as a module does on import
    for used in (operator, subclass):
        with pytest.raises(
            ImportError,
            match=rf'mmcv\.ops\.{name} needs mmcv.s compiled extension.*'
            'pip install .*--no-build-isolation onedl-mmcv',
        ):
            used(1, mode='x')


@without_ext
def test_registered_names():
    from mmengine.registry import MODELS

    layer = MODELS.build(
        dict(type='DCN', in_channels=2, out_channels=3, kernel_size=3)
    )
    assert isinstance(layer, ops.DeformConv2dPack)
    assert MODELS.get('DCNv2') is ops.ModulatedDeformConv2dPack
    assert MODELS.get('SAC').__module__ == 'mmcv.ops.saconv'
    assert MODELS.get('MMSyncBN') is ops.SyncBatchNorm


@without_ext
def test_roi_extractor_resolves_names():
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    def build(layer_type):
        return SingleRoIExtractor(
            roi_layer=dict(type=layer_type, output_size=7),
            out_channels=4,
            featmap_strides=[4, 8],
        )

    layers = build('RoIAlign').roi_layers
    assert [layer.spatial_scale for layer in layers] == [1 / 4, 1 / 8]
    assert all(type(layer) is ops.RoIAlign for layer in layers)
    with pytest.raises(ImportError, match=r'RoIAlignRotated needs'):
        build('RoIAlignRotated')


def test_environment_report():
    from mmcv.utils import collect_env

    report = collect_env()
    assert COMPILED or report['MMCV Compiler'] == 'n/a'


def test_fallbacks_are_all_that_mmdet_has():
    """Each guarded import outside of mmdet.models is in the list."""
    folder = Path(importlib.util.find_spec('mmdet').origin).parent
    found = set()
    for file in folder.rglob('*.py'):
        relative = file.relative_to(folder.parent)
        text = file.read_text(encoding='utf-8')
        if relative.parts[1] in ('models', '.mim') or 'mmcv' not in text:
            continue
        found |= {
            ('.'.join(relative.with_suffix('').parts), alias.name)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom)
            and (node.module or '').startswith('mmcv.ops')
            for alias in node.names
        }
    assert found == set(FALLBACKS)


@without_ext
def test_mmdet_models_first_is_refused():
    process = _run("""
        try:
            import mmdet.models
        except ModuleNotFoundError as error:
            assert 'mmcv._ext' in str(error), error
        import luminet_mm
    """)
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: mmdet.models.')
    assert 'Import luminet_mm before mmdet.models' in last
    assert 'restart the kernel' in last


@without_ext
def test_other_ops_first_are_refused():
    process = _run("""
        import sys, types
        sys.modules['mmcv.ops'] = types.ModuleType('mmcv.ops')
        import luminet_mm
    """)
    assert process.returncode == 1
    assert 'mmcv.ops is already loaded from' in process.stderr
    assert 'Import luminet_mm before mmdet.models' in process.stderr


@without_ext
def test_rest_of_mmdet_first_is_mended():
    """mmdet's own tools import parts of it before they read a config."""
    process = _run("""
        import mmdet.apis, mmdet.evaluation, mmdet.utils.large_image
        from mmdet.structures.mask import structures
        assert structures.roi_align.__module__ == structures.__name__
        import luminet_mm.ops as ops
        import mmdet.models
        from mmdet.evaluation.metrics import dump_odvg_results
        assert structures.roi_align is ops.roi_align
        assert mmdet.apis.inference.RoIPool is ops.RoIPool
        assert dump_odvg_results.batched_nms is ops.batched_nms
        assert mmdet.utils.large_image.batched_nms is ops.batched_nms
        assert mmdet.models.layers.bbox_nms.batched_nms is ops.batched_nms
        print('mended')
    """)
    assert _last_line(process) == 'mended'


@without_ext
def test_compiled_mmcv_wins_and_has_the_same_signatures(tmp_path):
    """mmcv's real Python layer, on an extension that has every function.

    First the extension cannot be loaded, as one built for another torch.
    """
    extension = tmp_path / '_ext.py'
    extension.write_text("raise ImportError('undefined symbol: _ZN3c10')\n")
    process = _run(f"""
        import importlib, json, sys
        from inspect import signature
        sys.dont_write_bytecode = True
        import mmcv
        mmcv.__path__.append({str(tmp_path)!r})
        import luminet_mm.operators
        try:
            import mmdet
        except ImportError as error:
            assert "compiled extension cannot be loaded" in str(error), error
            assert 'undefined symbol: _ZN3c10' in str(error), error
            assert 'pip install' in str(error), error
        else:
            raise AssertionError('a broken extension passed')
        open({str(extension)!r}, 'w').write(
            'def __getattr__(name): return lambda *args: None')
        importlib.invalidate_caches()
        import mmdet
        from luminet_mm import ops
        from luminet_mm.ops.standin import SERVED
        assert ops.install() == 'mmcv'
        import mmcv.ops
        assert mmcv.ops.RoIAlign.__module__ == 'mmcv.ops.roi_align'
        assert mmcv.ops.RoIAlign is not ops.RoIAlign

        def names(operator):
            owner = getattr(operator, '__self__', None)  # of Function.apply
            if owner is not None:
                return list(signature(owner.forward).parameters)[1:]
            return list(signature(operator).parameters)

        print(json.dumps({{
            name: [names(getattr(mmcv.ops, name)), names(served)]
            for name, served in SERVED.items()}}))
    """)
    signatures = json.loads(_last_line(process))
    assert set(signatures) == set(SERVED)
    for name, (theirs, ours) in signatures.items():
        assert theirs == ours, name


def test_torchvision_of_another_torch(tmp_path):
    package = tmp_path / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    process = subprocess.run(
        [sys.executable, '-c', 'import luminet_mm, mmpretrain'],
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=f'{tmp_path}{os.pathsep}{ROOT}'),
    )
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: torchvision ')
    assert 'operator torchvision::nms does not exist' in last
    assert 'pip install --force-reinstall torch torchvision' in last
