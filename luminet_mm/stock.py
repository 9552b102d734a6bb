"""Turn a distillation config back into the stock student's config."""

import copy
import os
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config

from luminet_mm.config_types import is_type, type_package, type_text
from luminet_mm.files.config_file import read_config
from luminet_mm.files.plain_config import only_registered, plain_values
from luminet_mm.student import (
    ZOOS,
    built_class,
    extended_by,
    find_model,
    registered_name,
    student_of,
)

PACKAGE = 'luminet_mm'
# Entries that an inferencer builds a student and its input of.
OF_STUDENT = ('model', 'data_preprocessor', 'test_dataloader')
# Entries that a run adds to its config and a finished model does not need.
RUN_KEYS = (
    'work_dir',
    'load_from',
    'resume',
    'launcher',
    'model_wrapper_cfg',
    'experiment_name',
)


def stock_config(cfg: Config) -> Config:
    """Replace the distiller with the model that it extends.

    Only the student predicts: testing and deployment need neither teacher nor
    losses. This package's hooks are removed with them. A multi-view
    preprocessor becomes the stock one, which does the same with one view, and
    a replay data set becomes the data set inside it.

    Args:
        cfg: Any config; one without a distiller is left unchanged.

    Returns:
        A copy whose ``model`` is a stock model.
    """
    cfg = copy.deepcopy(cfg)
    model = cfg.get('model') or {}
    if 'teacher' not in model and 'distill' not in model:
        return cfg
    for key in ('teacher', 'distill', 'peers', 'dry_run_size', 'student'):
        model.pop(key, None)
    scope = cfg.get('default_scope')
    model['type'] = _stock_type(model, scope)
    for node in (cfg, model):
        preprocessor = node.get('data_preprocessor') or {}
        if type_package(preprocessor) == PACKAGE:
            preprocessor['type'] = _stock_preprocessor(
                preprocessor['type'], scope
            )
    loader: dict = cfg.get('train_dataloader') or {}
    dataset = loader.get('dataset') or {}
    if is_type(dataset, 'luminet_mm.ReplayDataset'):
        loader['dataset'] = dataset['dataset']
        loader['sampler']['type'] = 'DefaultSampler'
    if cfg.get('custom_hooks'):
        cfg.custom_hooks = [
            hook for hook in cfg.custom_hooks if type_package(hook) != PACKAGE
        ]
    hooks: dict = cfg.get('default_hooks') or {}
    for name, hook in list(hooks.items()):
        if is_type(hook, 'luminet_mm.DistillMonitorHook'):
            del hooks[name]
    return cfg


def model_block(cfg: Config) -> ConfigDict:
    """A config's ``model``, with the data preprocessor in it.

    MMPretrain's configs keep it beside the model, and the Runner passes it to
    the model.

    Args:
        cfg: A whole config.

    Returns:
        A copy.
    """
    model = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return model


def peer_config(cfg: Config, peer: int) -> Config | None:
    """The config of a peer that was trained with the first network.

    Args:
        cfg: The config of a mutual learning run.
        peer: The peer's index in ``model.peers``.

    Returns:
        ``cfg`` with that peer as its stock model; None if
        ``model.peers`` is missing or names a file, which is then its config.
    """
    peers = (cfg.get('model') or {}).get('peers') or []
    block = peers[peer] if peer < len(peers) else ''
    if isinstance(block, str):
        return None
    stock = stock_config(cfg)
    stock.model = block.get('model', block)
    return stock


def stock_config_text(text: str, peer: int | None = None) -> str | None:
    """Convert the config text in a checkpoint to the stock student's.

    The text is parsed, never executed, because it comes from a file.

    Args:
        text: ``checkpoint['meta']['cfg']``.
        peer: Index in ``model.peers``; None for the model.

    Returns:
        The stock config's text, without the entries that only the
        run needed; None if the text holds more than plain values, or the
        peer's config is a file.

    Raises:
        ValueError: If its model is unknown, or the text is not a config.
    """
    values = parse_config(text)
    if values is None:
        return None
    for key in RUN_KEYS:
        values.pop(key, None)
    try:
        with only_registered():
            cfg = Config(values)
            stock = (
                stock_config(cfg) if peer is None else peer_config(cfg, peer)
            )
            if stock is None:
                return None
            stock.custom_imports = published_imports(stock)
            return stock.pretty_text
    except ValueError:  # a model that is not imported here
        raise
    except Exception as error:  # malformed entries
        raise ValueError(
            f'it is not the config of a run ({type(error).__name__}: '
            f'{str(error)[:100]})'
        ) from error


def published_imports(cfg: Config) -> dict[str, Any]:
    """The ``custom_imports`` of a published config.

    Whoever reads the config then needs no import of this package, which also
    serves ``mmcv.ops`` where mmcv is not compiled. Where it is not installed,
    that is an error only if the student has one of its types.

    Args:
        cfg: The stock student's whole config.

    Returns:
        The block, with the user's own modules in it.

    Examples:
        >>> published_imports(Config(dict(model=dict(type='mmdet.FCOS'))))
        {'imports': ['luminet_mm'], 'allow_failed_imports': True}
    """
    named = dict(cfg.get('custom_imports') or {})
    modules = named.get('imports') or []
    own = [modules] if isinstance(modules, str) else list(modules)
    own = [name for name in own if name.partition('.')[0] != PACKAGE]
    if any(_has_own_type(cfg.get(key)) for key in OF_STUDENT):
        return {**named, 'imports': [PACKAGE, *own]}
    if own:
        return {**named, 'imports': own}
    return {'imports': [PACKAGE], 'allow_failed_imports': True}


def _has_own_type(value: Any) -> bool:
    """Whether a block, or one inside it, is of this package."""
    if isinstance(value, (list, tuple)):
        return any(_has_own_type(each) for each in value)
    if not isinstance(value, dict):
        return False
    return type_package(value) == PACKAGE or any(
        _has_own_type(each) for each in value.values()
    )


def parse_config(text: str) -> dict[str, Any] | None:
    """Read a config's text as data, without executing any of it.

    Args:
        text: The text, such as ``checkpoint['meta']['cfg']``.

    Returns:
        Its entries; None if it holds more than plain values.
    """
    try:
        return plain_values(text)
    except ValueError:
        return None


def _stock_type(model: dict, scope: str | None) -> str | type:
    """The type of the student that a distiller extends.

    Raises:
        ValueError: If it is unknown or cannot replace the distiller.
    """
    kind = model['type']
    cls = built_class(kind, model, scope)
    if cls is None:
        raise ValueError(
            f'model.type {type_text(kind)!r} is not in a registry. Import '
            'its module with custom_imports.'
        )
    if not extended_by(cls):
        return kind
    student = student_of(cls)
    name = registered_name(student)
    if name is None and isinstance(kind, str):
        raise ValueError(
            f'model.type {kind!r}: its student {student.__name__} is not '
            'registered, so no config can name it. Put '
            '@MODELS.register_module() before that class.'
        )
    return student if name is None else name


def _stock_preprocessor(kind: Any, scope: str | None) -> str:
    """The stock class that one of this package's preprocessors extends."""
    cls = find_model(kind, scope)
    for base in cls.__mro__ if cls else ():
        package = base.__module__.partition('.')[0]
        if package in ZOOS:
            return f'{package}.{base.__name__}'
    raise ValueError(
        f'data_preprocessor {type_text(kind)!r} does not extend a stock one.'
    )


def model_config(config: str | dict, key: str = 'teacher.config') -> Config:
    """Read a config, with the data preprocessor in its ``model`` block.

    Args:
        config: A path, ``'mmdet::...'`` or ``'mmpretrain::...'``,
            a whole config or only its ``model`` block.
        key: The key that named it, for errors.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it has no ``model`` block.
    """
    cfg = _read_config(config, key)
    if 'model' not in cfg:
        raise ValueError(
            f'{key} {config!r} has no `model` block. Give the config '
            'that the model was trained with.'
        )
    cfg.model = model_block(cfg)
    return cfg


def _read_config(config: str | dict, key: str) -> Config:
    if isinstance(config, dict):
        whole = config if 'model' in config else dict(model=config)
        return Config(dict(whole))
    if '::' in config:
        try:
            return get_config(config)
        except Exception as error:
            raise FileNotFoundError(
                f'{key} {config!r}: {error}. Write '
                "'mmdet::<folder>/<name>.py' or 'mmpretrain::...', as in "
                "that package's configs folder."
            ) from error
    if not os.path.isfile(config):
        raise FileNotFoundError(
            f'{key} {config!r}: no such file. Give a path, '
            "'mmdet::<folder>/<name>.py' or the config itself as a dict."
        )
    return read_config(config, key)
