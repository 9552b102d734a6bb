"""Write a part of a model to a file, and run that file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from luminet_mm.export.parts import Part

LIMIT = 1e-3
"""A larger difference means that an exported file computes something else."""
FLOOR = 0.01
"""Outputs whose values are all smaller are rounding, as a norm of one value
leaves it, or a deviation from 0 that does not matter."""
PACKAGES = ('onnx', 'onnxruntime', 'onnxscript')
EXAMPLE, OTHER = 2, 3
"""Lengths with which a part is traced, and compared."""


class Exported(NamedTuple):
    """A file, and how far its outputs are from the model's."""

    path: Path
    part: Part
    difference: float
    """The largest, over the largest value of that output."""


def to_torchscript(part: Part, path: Path) -> Callable[..., list[Tensor]]:
    """Trace a part into a TorchScript file.

    Args:
        part: The part.
        path: The file.

    Returns:
        The file as a function.
    """
    with torch.no_grad(), warnings.catch_warnings():
        # torch.jit goes on working, and tells so at every call
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(
            part.module, part.example(EXAMPLE), check_trace=False
        )
        traced.save(str(path))
        loaded = torch.jit.load(str(path))
    return lambda *inputs: list(loaded(*inputs))


def to_onnx(part: Part, path: Path) -> Callable[..., list[Tensor]]:
    """Export a part to an ONNX file.

    Args:
        part: The part.
        path: The file.

    Returns:
        The file as a function, which onnxruntime runs.

    Raises:
        ImportError: If a package for it is not installed.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'ONNX needs {", ".join(missing)}: pip install '
            f"{' '.join(missing)} (or 'luminet_mm[export]')."
        )
    import onnxruntime

    length = torch.export.Dim('n')
    shapes = tuple({0: length} if each else None for each in part.varies)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program: Any = torch.onnx.export(
            part.module,
            part.example(EXAMPLE),
            input_names=part.inputs,
            output_names=part.outputs,
            # torch.export names a star argument as it names others
            dynamic_shapes={'inputs': shapes} if shapes[1:] else shapes,
            dynamo=True,
            verbose=False,
        )
    program.save(str(path))
    session = onnxruntime.InferenceSession(
        str(path), providers=['CPUExecutionProvider']
    )

    def run(*inputs: Tensor) -> list[Tensor]:
        fed = {n: x.numpy() for n, x in zip(part.inputs, inputs)}
        return [torch.from_numpy(x) for x in session.run(None, fed)]

    return run


FORMATS = dict(onnx=(to_onnx, '.onnx'), torchscript=(to_torchscript, '.pt'))
"""How each format is written, and what its files are called."""


def export(part: Part, target: str, kind: str) -> Exported:
    """Write a part, and compare the file with the model on other inputs.

    Args:
        part: The part.
        target: Path of the file, without its ending.
        kind: A key of FORMATS.

    Raises:
        FileExistsError: If the file exists.
        ValueError: If its outputs differ by more than LIMIT; the file is
            removed.
    """
    write, ending = FORMATS[kind]
    path = Path('_'.join(filter(None, (target, part.name))) + ending)
    if path.exists():
        raise FileExistsError(f'{path} already exists; it was not changed.')
    path.parent.mkdir(parents=True, exist_ok=True)
    run = write(part, path)
    inputs = part.example(OTHER)
    with torch.no_grad():
        expected = part.module(*inputs)
    found = difference(expected, run(*inputs))
    if not found <= LIMIT:
        path.unlink()
        raise ValueError(
            f'{path.name}: its outputs differ from those of the model by '
            f'{found:.2g} of the largest value, so it was removed.'
        )
    return Exported(path, part, found)


def difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """The largest difference of outputs, over the largest value of each.

    Values below FLOOR count as FLOOR.

    Args:
        expected: Tensors.
        found: As many, of the same shapes.

    Raises:
        ValueError: If a shape differs.

    Examples:
        >>> difference([torch.tensor([2.0, 4.0])], [torch.tensor([2.0, 4.4])])
        0.1000...
    """
    differences = [0.0]
    for one, other in zip(expected, found, strict=True):
        if one.shape != other.shape:
            raise ValueError(
                f'an output has the shape {tuple(other.shape)}, and not '
                f'{tuple(one.shape)}'
            )
        scale = one.abs().amax().clamp(min=FLOOR)
        differences.append(((one - other).abs().amax() / scale).item())
    return torch.tensor(differences).amax().item()  # NaN stays NaN
