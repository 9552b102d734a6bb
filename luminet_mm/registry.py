"""Child registries of MMEngine's registries, with scope ``luminet_mm``.

Once ``luminet_mm`` is imported, as this project's tools do,
``type='luminet_mm.LumiNetLoss'`` in a config resolves by itself: a registry
imports its ``locations`` at the first lookup. A script that does not import
the package, such as MMDetection's own, needs this in the config::

    custom_imports = dict(imports=['luminet_mm'])

since looking up any type under ``default_scope='mmdet'`` imports
``mmdet.models``, and ``mmcv.ops`` must be available by then.
"""

import importlib
from typing import Any

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

SCOPE = 'luminet_mm'


class LateRegistry(Registry):
    """A registry that imports its last location only where it has to.

    That is when a name is in none of the others, or all names are wanted.

    Args:
        last: The module.
        **kwargs: Arguments of :class:`mmengine.registry.Registry`.
    """

    def __init__(self, name: str, *, last: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._last = last

    def get(self, key: str) -> type | None:
        """The class of a name, as in MMEngine's registry."""
        self.import_from_location()
        if key.rpartition('.')[2] not in self._module_dict:
            self._import_last()
        return super().get(key)

    @property
    def module_dict(self) -> dict:
        """All classes by name."""
        self._import_last()
        return super().module_dict

    def _import_last(self) -> None:
        importlib.import_module(self._last)


MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope=SCOPE,
    locations=[
        'luminet_mm.distillers',
        'luminet_mm.losses',
        'luminet_mm.models',
    ],
)
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope=SCOPE, locations=['luminet_mm.hooks']
)
DATASETS = LateRegistry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope=SCOPE,
    locations=['luminet_mm.datasets'],
    last='luminet_mm.datasets.digits.dataset',
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope=SCOPE,
    locations=['luminet_mm.datasets'],
)
DATA_SAMPLERS = Registry(
    'data sampler',
    parent=MMENGINE_DATA_SAMPLERS,
    scope=SCOPE,
    locations=['luminet_mm.datasets'],
)
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    scope=SCOPE,
    locations=['luminet_mm.optim'],
)
