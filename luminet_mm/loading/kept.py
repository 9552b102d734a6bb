"""Whether weights that were loaded are still in a model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

_loaded: WeakIdKeyDictionary = WeakIdKeyDictionary()


def note_loaded(tensors: Iterable[Tensor]) -> None:
    """Remember the values that parameters were just given.

    Args:
        tensors: Parameters; other tensors are left out, which devices and
            averages replace.
    """
    found = [each for each in tensors if isinstance(each, nn.Parameter)]
    for parameter, sums in zip(found, _sums(found), strict=True):
        _loaded[parameter] = (parameter.dtype, *sums)


def changed(model: nn.Module) -> tuple[list[str], float]:
    """Which parameters are no longer what was loaded.

    Args:
        model: The model.

    Returns:
        Their names, and the share that they have of all loaded numbers.

    Examples:
        >>> from torch import nn
        >>> model = nn.Linear(3, 1)
        >>> note_loaded(model.parameters())
        >>> _ = nn.init.zeros_(model.weight)
        >>> changed(model)
        (['weight'], 0.75)
    """
    found = [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if parameter in _loaded and parameter.dtype == _loaded[parameter][0]
    ]
    now = _sums([parameter for _, parameter in found])
    names = [
        name
        for (name, parameter), sums in zip(found, now, strict=True)
        if not all(
            # devices add in other orders
            abs(a - b) <= 1e-6 * (1 + sums[1])
            for a, b in zip(sums, _loaded[parameter][1:], strict=True)
        )
    ]
    sizes = {name: parameter.numel() for name, parameter in found}
    total = sum(sizes.values())
    return names, sum(sizes[name] for name in names) / max(total, 1)


def _sums(parameters: list[nn.Parameter]) -> list[list[float]]:
    """Sum and norm of each."""
    if not parameters:
        return []
    sums = []
    for each in parameters:
        values = each.detach().double()
        sums.append(torch.stack([values.sum(), values.norm()]).cpu())
    return torch.stack(sums).tolist()
