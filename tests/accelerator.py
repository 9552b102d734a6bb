"""A device that is not the CPU, for machines that have nothing else.

Tensors of the device ``emulated`` are computed on the CPU, by its kernels and
with its random numbers, but refuse what a GPU's refuse: an operation with a
tensor of the CPU, or with a random generator of the CPU, and NumPy. So a
module that runs here has left no tensor behind, and its numbers are those of
the CPU. What asks for CUDA by name (streams, pinned memory) is not reached.

It rests on torch's hooks for devices written in Python, which may change.
"""

from contextlib import nullcontext
from typing import Any, Union

import pytest
import torch
from mmengine.structures import instance_data
from torch.library import Library
from torch.utils import backend_registration
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

if not hasattr(
    backend_registration, '_setup_privateuseone_for_python_backend'
):
    pytest.skip('this torch knows no such device', allow_module_level=True)
NAME = 'emulated'
CPU, DEVICE = torch.device('cpu'), None
# Numbers may come from the CPU, and a GPU's tensors take the CPU's indices.
COPIES = ('copy_', '_copy_from', '_to_copy')
INDEXED = ('index', 'index_put', 'index_put_', '_index_put_impl_')


class Emulated(torch.Tensor):
    """A tensor of the device.

    Args:
        inner: The tensor of the CPU that holds its numbers.
    """

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=DEVICE,
            requires_grad=False,
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f'Emulated({self.inner!r})'

    def __reduce_ex__(self, protocol):
        return self.inner.__reduce_ex__(protocol)

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    name = func.overloadpacket.__name__
    if name not in COPIES:
        _check(func, name, args, kwargs)
    to_host = kwargs.get('device') == CPU
    out = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if not to_host:
        out = tree_map_only(torch.Tensor, Emulated, out)
    target = kwargs.get('out')
    if isinstance(target, Emulated) and target.shape != target.inner.shape:
        raise NotImplementedError(f'{func} resizes its out')
    return return_and_correct_aliasing(func, args, kwargs, out)


def _check(func, name, args, kwargs):
    if name in INDEXED:
        args = args[0], *args[2:]
    for each in tree_leaves((args, kwargs)):
        strange = isinstance(each, torch.Generator) or (
            isinstance(each, torch.Tensor)
            and not isinstance(each, Emulated)
            and each.dim()  # a number
        )
        if strange:
            raise RuntimeError(
                f'{func} of tensors on {DEVICE} was given a '
                f'{type(each).__name__} on {each.device}'
            )


def _inner(value):
    if isinstance(value, Emulated):
        return value.inner
    return CPU if isinstance(value, torch.device) else value


def _empty(size, *, dtype=None, memory_format=None, **_):
    memory_format = memory_format or torch.contiguous_format
    return Emulated(
        torch.empty(size, dtype=dtype, memory_format=memory_format)
    )


def _empty_strided(size, stride, *, dtype=None, **_):
    return Emulated(torch.empty_strided(size, stride, dtype=dtype))


def _made(factory):
    """A factory whose general form resizes a tensor, which this cannot do."""

    def make(*args, device=None, layout=None, pin_memory=None, **kwargs):
        return Emulated(factory(*args, **kwargs))

    return make


def _copy_from(source, target, non_blocking=False):
    _inner(target).copy_(_inner(source))
    return target


class _Module(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def device(self, device):
        """The context in which it is the current one."""
        return nullcontext()


class _OfDtype(type):
    def __instancecheck__(cls, value):
        return isinstance(value, Emulated) and value.dtype == cls.dtype


class _Longs(metaclass=_OfDtype):
    dtype = torch.long


class _Bools(metaclass=_OfDtype):
    dtype = torch.bool


def _register() -> tuple[torch.device, list[Any]]:
    """Make the device known to torch, for as long as the process lives."""
    backend_registration._setup_privateuseone_for_python_backend(
        NAME, _Module()
    )
    aten, rest = (Library(n, 'IMPL', 'PrivateUse1') for n in ('aten', '_'))
    aten.impl('empty.memory_format', _empty)
    aten.impl('empty_strided', _empty_strided)
    for name in ('arange', 'arange.start', 'arange.start_step'):
        aten.impl(name, _made(torch.arange))
    for name in ('eye', 'eye.m'):
        aten.impl(name, _made(torch.eye))
    # where torch reads Python numbers it asks the device itself
    aten.impl('_copy_from', _copy_from)
    rest.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs))
    # what a file is to be read onto the device stays on the CPU
    torch.serialization.register_package(
        1,
        lambda storage: None,
        lambda storage, place: storage if place.startswith(NAME) else None,
    )
    # MMEngine knows indices by their types, and reads the parts of a Union
    both = instance_data.BoolTypeTensor, instance_data.IndexType
    instance_data.BoolTypeTensor = Union[both[0], _Bools]  # noqa: UP007
    instance_data.IndexType = Union[both[1], _Longs, _Bools]  # noqa: UP007
    return torch.device(NAME, 0), [aten, rest]


DEVICE, _LIBRARIES = _register()


def to_cpu(values):
    """Tensors in any nesting, brought to the CPU.

    Args:
        values: The nesting.
    """
    return tree_map(
        lambda x: x.cpu() if isinstance(x, torch.Tensor) else x, values
    )
