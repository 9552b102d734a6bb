"""The types that a checkpoint may name besides torch's own.

These are the types in MMEngine's training checkpoints: log histories, and
NumPy arrays and scalars. They are not built by NumPy's own unpickling, which
trusts the file: a file can claim that a ``dtype`` of objects holds none, and
its bytes are then used as addresses. Stand-ins record what the file says;
:func:`finished` builds the real values once they have been checked.
"""

import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# Numbers, booleans and strings: no objects, no records.
_DTYPE = re.compile(r'[<>=|]?(?:[?bBhHiIlLqQefdgFDG]|[biufcSU]\d{1,9})')


class Dtype:
    """A file's description of a dtype, such as ``('f8', False, True)``."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise pickle.UnpicklingError(
                f'a numpy dtype {code!r:.60} is not a plain number or text'
            )
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        """Take the byte order; plain types have no other state."""
        _, order, *rest = state
        if any(item is not None for item in rest[:3]):
            raise pickle.UnpicklingError('a numpy dtype with fields')
        if order not in ('<', '>', '=', '|'):
            raise pickle.UnpicklingError(f'a byte order {order!r:.60}')
        if order in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(order)


class Array:
    """A file's description of an array."""

    value: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        kind = _real_dtype(dtype)
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError('a numpy array of objects')
        if (
            math.prod(shape) * kind.itemsize != len(data)
            or min(shape, default=0) < 0
        ):
            raise pickle.UnpicklingError(
                f'a numpy array of shape {shape} in {len(data):,} bytes'
            )
        # a copy, so that it is writable as usual
        self.value = np.ndarray(
            shape, kind, data, order='F' if fortran else 'C'
        ).copy(order='K')


def make_array(*_: Any) -> Array:
    """Stand in for numpy's ``_reconstruct``."""
    return Array()


def make_from_buffer(
    buffer: Any, dtype: Any, shape: Any, order: Any = 'C', *_: Any
) -> Array:
    """Stand in for numpy's ``_frombuffer``, of pickles of protocol 5."""
    array = Array()
    content = bytes(buffer) if isinstance(buffer, bytearray) else buffer
    array.__setstate__((1, shape, dtype, order == 'F', content))
    return array


def make_scalar(dtype: Any, data: bytes = b'') -> Any:
    """Stand in for numpy's ``scalar``."""
    kind = _real_dtype(dtype)
    if not isinstance(data, bytes) or len(data) != kind.itemsize:
        raise pickle.UnpicklingError('a numpy scalar of another size')
    return np.ndarray(1, kind, data)[0] if data else kind.type()


def no_bytes() -> bytes:
    """Stand in for ``bytes()``, as pickles write empty content."""
    return b''


def _real_dtype(dtype: Any) -> np.dtype:
    if isinstance(dtype, Dtype):
        return dtype.dtype
    # if the user has allowed NumPy's own type
    if isinstance(dtype, np.dtype) and not dtype.hasobject and not dtype.names:
        return dtype
    raise pickle.UnpicklingError(f'{type(dtype).__name__} is not a dtype')


class History(HistoryBuffer):
    """A log history whose file cannot change the statistics of others.

    In MMEngine's class, setting the state writes to a table that all histories
    share.
    """

    def __setstate__(self, state: dict) -> None:
        kept = {k: v for k, v in state.items() if k != 'statistics_methods'}
        super().__setstate__(finished(kept))


def history_attribute(owner: Any, name: Any) -> Any:
    """Stand in for ``getattr``, but only for a log history's statistics.

    MMEngine pickles ``HistoryBuffer.mean`` as
    ``getattr(HistoryBuffer, 'mean')``; the real ``getattr`` would open every
    attribute to the file.
    """
    if owner is History and name in ('min', 'max', 'current', 'mean'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(
        'GLOBAL builtins.getattr was not an allowed global by default'
    )


def plain_globals() -> dict[str, Callable]:
    """The names that a file may use, and what each is replaced with.

    Arrays written by numpy 1 name ``numpy.core``, those written by numpy 2
    ``numpy._core``.
    """
    result: dict[str, Callable] = {
        'numpy.ndarray': Array,
        'numpy.dtype': Dtype,
        'builtins.slice': slice,
        'builtins.bytes': no_bytes,
        'builtins.getattr': history_attribute,
        'mmengine.logging.history_buffer.HistoryBuffer': History,
    }
    for core in ('numpy.core', 'numpy._core'):
        result[f'{core}.multiarray._reconstruct'] = make_array
        result[f'{core}.multiarray.scalar'] = make_scalar
        result[f'{core}.numeric._frombuffer'] = make_from_buffer
    return result


def finished(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """Replace stand-ins with the real values, in any nesting.

    Dicts and lists are changed in place, so that they keep their type.

    Raises:
        pickle.UnpicklingError: If a stand-in was never given a state, or a
            tensor claims far more numbers than the file has.
    """
    seen = {} if seen is None else seen
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, Array):
        if not hasattr(value, 'value'):
            raise pickle.UnpicklingError('a numpy array without content')
        return value.value
    if isinstance(value, Dtype):
        return value.dtype
    if isinstance(value, History):
        value.__class__ = HistoryBuffer
        return value
    if isinstance(value, torch.Tensor):
        _check_tensor(value)
    if isinstance(value, dict):
        seen[id(value)] = value
        for key in value:
            value[key] = finished(value[key], seen)
    elif isinstance(value, list):
        seen[id(value)] = value
        value[:] = [finished(item, seen) for item in value]
    elif type(value) is tuple:
        new = tuple(finished(item, seen) for item in value)
        if any(a is not b for a, b in zip(new, value)):
            return new
    return value


def _check_tensor(value: torch.Tensor) -> None:
    """Refuse a tensor that would fill the memory when copied."""
    if value.device.type == 'meta':
        raise pickle.UnpicklingError('a tensor without values')
    if value.layout is not torch.strided:
        return
    there = value.untyped_storage().nbytes()
    if value.numel() * value.element_size() > 16 * there + 2**24:
        raise pickle.UnpicklingError(
            f'a tensor of shape {tuple(value.shape)} in {there:,} bytes'
        )
