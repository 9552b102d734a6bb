"""Build the network of a teacher, with the random state as it was."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.config_types import type_package
from luminet_mm.rng import preserved_rng
from luminet_mm.student import ZOOS
from luminet_mm.teachers.weights import draw_unset


def scope_of(cfg: Config, default: str) -> str:
    """Where types of a teacher's config are looked up.

    Args:
        cfg: The config.
        default: Where they are if neither the config nor the type of its
            model says it.

    Examples:
        >>> from mmengine.config import Config
        >>> from luminet_mm.teachers.network import scope_of
        >>> model = dict(type='mmpretrain.ImageClassifier')
        >>> scope_of(Config(dict(model=model)), 'mmdet')
        'mmpretrain'
    """
    package = type_package(cfg.model)
    return cfg.get('default_scope') or (
        package if package in ZOOS else default
    )


def build_network(model: dict, scope: str) -> BaseModel:
    """Build a model; what its checkpoint will not overwrite is drawn.

    Args:
        model: Its block.
        scope: Where types are looked up.

    Raises:
        ValueError: If it is not a whole model.
    """
    with preserved_rng(), DefaultScope.overwrite_default_scope(scope):
        built = MODELS.build(model)
        if not hasattr(built, 'data_preprocessor'):  # as all models have
            raise ValueError(
                f'teacher.config: {type(built).__name__} is a part of a '
                "model. A backbone alone teaches as dict(type='luminet_mm."
                f"BackboneModel', backbone=dict(type={model['type']!r}, ...))."
            )
        draw_unset(built)
    return built
