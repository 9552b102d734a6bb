"""Load weights into a model, and report how much of it they filled."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn

from luminet_mm.files.errors import CheckpointError
from luminet_mm.loading.kept import note_loaded

# Batch norm counters: older files lack them, and nothing reads them.
_COUNTER = 'num_batches_tracked'


@dataclass(frozen=True)
class Fit:
    """How well a state dict fits a model.

    Keys are the model's, after its own load hooks have renamed or resized the
    entries that they know.

    Attributes:
        loaded: Size of each tensor that was filled, without batch norm
            counters.
        missing: Size of each tensor that the file lacks.
        reshaped: Shapes in the file and in the model if they differ;
            these tensors are left unchanged.
        unexpected: Keys of the file that the model does not use.
        unsaved: Weights that are in no checkpoint of the model (see
            :func:`unsaved`) and not in this file either.
    """

    loaded: dict[str, int]
    missing: dict[str, int]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unexpected: list[str]
    unsaved: list[str] = field(default_factory=list)

    def lines(self, keys: Mapping[str, Any] | None = None) -> list[str]:
        """A line for each key that was not filled.

        Args:
            keys: Only these; all by default.
        """
        entries = {
            key: f'{key}: {theirs} in the file, {ours} in the model'
            for key, (theirs, ours) in self.reshaped.items()
        }
        entries.update({key: f'{key}: missing' for key in self.missing})
        return [
            line
            for key, line in entries.items()
            if keys is None or key in keys
        ]


def load_weights(model: nn.Module, state: Mapping[str, Any]) -> Fit:
    """Load the weights whose shapes agree, after the model's load hooks.

    These hooks rename the keys of older files, resize position embeddings and
    drop tables that the model computes itself. So the model decides what is
    missing, not a comparison of keys.

    Args:
        model: The model, or its wrapper.
        state: Weights by key; left unchanged.

    Returns:
        What was filled and what was not.

    Raises:
        CheckpointError: If the model's hooks cannot read the weights.
    """
    model = unwrapped(model)
    given = OrderedDict(state)
    if hasattr(state, '_metadata'):
        given._metadata = state._metadata  # type: ignore[attr-defined]
    reshaped: dict = {}
    filled: dict[int, Tensor] = {}

    def compare(module: nn.Module, local: dict, prefix: str, *_: Any) -> None:
        """Drop tensors of another shape, which torch would refuse."""
        for name, own in _own_tensors(module).items():
            value = local.get(prefix + name)
            if not isinstance(value, Tensor):
                continue
            if value.shape == own.shape:
                filled[id(own)] = own
                continue
            if own.ndim or value.ndim != 1:  # torch 0.3 had no scalars
                shapes = tuple(value.shape), tuple(own.shape)
                reshaped[prefix + name] = shapes
                del local[prefix + name]

    # registered last, so they see the result of the modules' own hooks
    handles = [
        module.register_load_state_dict_pre_hook(compare)
        for module in model.modules()
    ]
    try:
        result = model.load_state_dict(given, strict=False)
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        raise CheckpointError(
            f'{type(model).__name__} cannot take these weights: '
            f'{" ".join(line.strip() for line in lines[:3])}'
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    note_loaded(filled.values())
    sizes = {
        key: value.numel()
        for key, value in model.state_dict().items()
        if isinstance(value, Tensor) and _COUNTER not in key
    }
    # if a hook dropped an entry of the file, the model computes it
    absent = [key for key in result.missing_keys if key not in state]
    return Fit(
        loaded={
            key: size
            for key, size in sizes.items()
            if key not in absent and key not in reshaped
        },
        missing={key: sizes[key] for key in absent if key in sizes},
        reshaped=reshaped,
        unexpected=list(result.unexpected_keys),
        unsaved=[
            name
            for name in unsaved(model)
            if id(model.get_parameter(name)) not in filled
        ],
    )


def unsaved(model: nn.Module) -> list[str]:
    """Weights that one of the model's hooks leaves out of ``state_dict``.

    MMPretrain's ``LoRAModel`` saves only its own matrices. The others are in
    no checkpoint, and loading does not report them. Hooks may also rename
    (``TimmClassifier``), so memory is compared, not names.
    """
    state = model.state_dict()
    saved = {v.data_ptr() for v in state.values() if isinstance(v, Tensor)}
    return [
        name
        for name, value in model.named_parameters()
        if value.numel()
        and name not in state
        and value.data_ptr() not in saved
    ]


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DDP and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        inside = model.module
        assert isinstance(inside, nn.Module)
        model = inside
    return model


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that a module itself, not its children, saves."""
    transient = module._non_persistent_buffers_set
    return {
        name: value
        for group in (module._parameters, module._buffers)
        for name, value in group.items()
        if value is not None
        and name not in transient
        and not nn.parameter.is_lazy(value)
    }
