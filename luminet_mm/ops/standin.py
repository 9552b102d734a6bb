"""Provide this package's operators under the names of ``mmcv.ops``."""

import ast
import importlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.registry import MODELS

from luminet_mm.ops.batched_nms import batched_nms
from luminet_mm.ops.bbox_overlaps import bbox_overlaps
from luminet_mm.ops.borrowed import BORROWED, borrow
from luminet_mm.ops.common import INSTALL_COMPILED, missing_op
from luminet_mm.ops.deform_conv import deform_conv2d, modulated_deform_conv2d
from luminet_mm.ops.deform_layers import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
)
from luminet_mm.ops.focal_loss import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    softmax_focal_loss,
)
from luminet_mm.ops.nms import nms, nms_match, soft_nms
from luminet_mm.ops.roi import RoIAlign, RoIPool, roi_align, roi_pool
from luminet_mm.ops.sync_bn import SyncBatchNorm

SERVED: dict[str, Any] = {
    served.__name__: served
    for served in (
        DeformConv2d,
        DeformConv2dPack,
        ModulatedDeformConv2d,
        ModulatedDeformConv2dPack,
        RoIAlign,
        RoIPool,
        SigmoidFocalLoss,
        SoftmaxFocalLoss,
        SyncBatchNorm,
        batched_nms,
        bbox_overlaps,
        deform_conv2d,
        modulated_deform_conv2d,
        nms,
        nms_match,
        roi_align,
        roi_pool,
        sigmoid_focal_loss,
        soft_nms,
        softmax_focal_loss,
    )
}
# Functions that mmengine's and mmcv's environment reports call.
SERVED.update(
    get_compiler_version=lambda: 'n/a',
    get_compiling_cuda_version=lambda: 'n/a',
)

# Files of mmcv/ops that need no extension: they are used unchanged.
PURE_PYTHON = (
    'cc_attention',
    'corner_pool',
    'deprecated_wrappers',
    'merge_cells',
    'point_sample',
    'saconv',
)

# The names under which mmcv registers operators that are classes, apart from
# those in PURE_PYTHON and BORROWED, which register themselves.
REGISTERED = {
    'DCN': 'DeformConv2dPack',
    'DCNv2': 'ModulatedDeformConv2dPack',
    'MMSyncBN': 'SyncBatchNorm',
}

# Modules of mmdet that can be imported without mmcv.ops and then define a
# function or class of this name that only raises.
FALLBACKS = (
    ('mmdet.apis.inference', 'RoIPool'),
    ('mmdet.evaluation.metrics.dump_odvg_results', 'batched_nms'),
    ('mmdet.structures.mask.structures', 'roi_align'),
    ('mmdet.utils.large_image', 'batched_nms'),
)


class StandIn(ModuleType):
    """Type of the module that :func:`install` puts in ``sys.modules``."""


def _placeholder(name: str) -> type:
    """A class to import, register or subclass, but that raises when used."""

    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise missing_op(name)

    return type(
        name,
        (),
        {
            '__new__': __new__,
            '__module__': 'mmcv.ops',
            '__doc__': 'Needs the compiled extension of mmcv.',
        },
    )


def _exports(init_file: Path) -> list[tuple[str, str, str]]:
    """Read the names that mmcv.ops exports, without running it.

    Returns:
        (submodule, name in the submodule, name in the package).
    """
    tree = ast.parse(init_file.read_text(encoding='utf-8'))
    return [
        (node.module, alias.name, alias.asname or alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        for alias in node.names
    ]


def _refuse(reason: str) -> None:
    raise ImportError(
        f'{reason} Import luminet_mm before mmdet.models (and before '
        'mmcv.ops): mmcv is installed without its compiled extension, and '
        'luminet_mm provides its operators through torchvision. In a '
        'notebook, restart the kernel first.'
    )


def install() -> str:
    """Provide ``mmcv.ops`` through torchvision if mmcv has no compiled ops.

    Names that torchvision cannot provide can still be imported, because mmdet
    imports some of them and uses them much later or never. Using one raises an
    ImportError that names it and says what to install.

    Returns:
        The package that provides the operators: 'mmcv' or
        'torchvision'.

    Raises:
        ImportError: mmcv's extension exists but cannot be loaded, or
            mmdet.models was imported before, without operators.
    """
    present = sys.modules.get('mmcv.ops')
    if isinstance(present, StandIn):
        return 'torchvision'
    if find_spec('mmcv._ext') is not None:
        try:
            importlib.import_module('mmcv.ops')
        except ImportError as error:
            raise ImportError(
                "mmcv's compiled extension cannot be loaded: it was probably "
                f'built for another torch ({error}). Remove it (luminet_mm '
                'then uses torchvision): pip install --no-cache-dir '
                '--force-reinstall --no-deps onedl-mmcv; or build it again: '
                f'{INSTALL_COMPILED}'
            ) from error
        return 'mmcv'
    if present is not None:
        origin = getattr(present, '__file__', None) or 'an unknown file'
        _refuse(f'mmcv.ops is already loaded from {origin}.')
    early = sorted(m for m in sys.modules if m.startswith('mmdet.models'))
    if early:
        _refuse(
            f'{early[0]} was imported before mmcv had any operators, and '
            'now holds functions in their place that only raise.'
        )

    ops = _build()
    for registered, name in REGISTERED.items():
        MODELS.register_module(
            name=registered, module=getattr(ops, name), force=True
        )
    for module_name, name in FALLBACKS:
        if module_name in sys.modules:
            setattr(sys.modules[module_name], name, getattr(ops, name))
    return 'torchvision'


def _build() -> StandIn:
    """Make ``mmcv.ops`` and its submodules, and register them everywhere."""
    mmcv = importlib.import_module('mmcv')
    folder = Path(mmcv.__path__[0]) / 'ops'
    ops = StandIn('mmcv.ops', 'mmcv.ops, served by luminet_mm.ops.')
    # With mmcv's own folder as path, "import mmcv.ops.point_sample" finds the
    # file there and loads it as a submodule of the stand-in.
    ops.__path__ = [str(folder)]
    ops.__spec__ = ModuleSpec('mmcv.ops', None, is_package=True)
    ops.__spec__.submodule_search_locations = ops.__path__
    sys.modules['mmcv.ops'] = ops
    mmcv.ops = ops  # type: ignore[attr-defined]
    try:
        exports = _exports(folder / '__init__.py')
        for submodule, name, public in exports:
            if submodule not in (*PURE_PYTHON, *BORROWED):
                full_name = f'mmcv.ops.{submodule}'
                module = sys.modules.setdefault(full_name, StandIn(full_name))
                served = SERVED.get(name) or _placeholder(name)
                setattr(module, name, served)
                setattr(ops, public, served)
        # Importing a submodule binds its name in the package, but mmcv has a
        # function of that name there: hence two steps.
        for submodule in PURE_PYTHON:
            importlib.import_module(f'mmcv.ops.{submodule}')
        for submodule in BORROWED:
            borrow(submodule)
        for submodule, name, public in exports:
            if submodule in (*PURE_PYTHON, *BORROWED):
                module = sys.modules[f'mmcv.ops.{submodule}']
                setattr(ops, public, getattr(module, name))
    except BaseException:
        del mmcv.ops  # type: ignore[attr-defined]
        for name in [m for m in sys.modules if m.startswith('mmcv.ops')]:
            del sys.modules[name]
        raise
    ops.__all__ = [  # type: ignore[attr-defined]
        public for _, _, public in exports
    ]
    return ops
