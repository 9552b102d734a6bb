"""Counts the operators that a training step adds to the stock models' own."""

from collections import Counter
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from luminet_mm.losses import LogitLoss
from luminet_mm.losses.base.finite import FiniteCheck
from luminet_mm.signals.families import stock_family

# On CUDA the host waits for the result of each of these.
_READS = (
    '_local_scalar_dense',
    'item',
    'is_nonzero',
    'nonzero',
    'nonzero_numpy',
    'masked_select',
    'equal',
    '_unique2',
    'unique_dim',
    'unique_consecutive',
)
_READING_METHODS = ('tolist', 'numpy', 'cpu')


class Operators(TorchDispatchMode):
    """Counts operators by name, and those that would make a GPU wait."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()
        self.reads = Counter()
        self.paused = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not self.paused:
            name = func.overloadpacket.__name__
            self.counts[name] += 1
            if name in _READS or _masks(name, args):
                self.reads[name] += 1
        return func(*args, **(kwargs or {}))

    def pause(self, *_):
        self.paused += 1

    def go_on(self, *_):
        self.paused -= 1


def _masks(name, args):
    """Indexing with a mask looks up where it is true."""
    if name not in ('index', 'index_put', 'index_put_', '_index_put_impl_'):
        return False
    return any(
        each is not None and each.dtype in (torch.bool, torch.uint8)
        for each in args[1]
    )


class _Methods(TorchFunctionMode):
    """Counts reads that are no operators on a CPU, such as ``tolist``."""

    def __init__(self, operators):
        super().__init__()
        self.operators = operators

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        if name in _READING_METHODS and not self.operators.paused:
            self.operators.reads[name] += 1
        return func(*args, **(kwargs or {}))


class _Event:
    def synchronize(self):
        pass


@contextmanager
def as_on_a_gpu():
    """The checks of losses take the way that they take on CUDA.

    What they read there, of the step before, has long been computed.
    """
    with (
        patch.object(FiniteCheck, '_deferred', staticmethod(lambda _: True)),
        patch.object(
            FiniteCheck,
            '_start_copy',
            staticmethod(lambda flags: (flags, _Event())),
        ),
        patch.object(FiniteCheck, '_report', lambda *_: None),
        patch.object(LogitLoss, '_check_labels', lambda *_: None),
    ):
        yield


def _parts(teacher):
    """What a teacher runs as a whole; a RoI head is run by its methods."""
    family = stock_family(teacher)
    names = ['backbone', 'neck', 'rpn_head', 'encoder', 'decoder']
    if family is not None and family.head != 'roi_head':
        names.append(family.head)
    found = (getattr(teacher, name, None) for name in names)
    return [part for part in found if part is not None]


def _paused(operators, forward):
    def paused(*args, **kwargs):
        operators.pause()
        try:
            return forward(*args, **kwargs)
        finally:
            operators.go_on()

    return paused


@contextmanager
def counted(teacher=None):
    """Count the operators of a block, those of a teacher's parts left out."""
    operators = Operators()
    with ExitStack() as stack:
        for part in _parts(teacher):
            for handle in (
                part.register_forward_pre_hook(
                    operators.pause, with_kwargs=False, prepend=True
                ),
                part.register_forward_hook(operators.go_on),
            ):
                stack.callback(handle.remove)
        for name in ('_bbox_forward', '_mask_forward'):
            roi_head = getattr(teacher, 'roi_head', None)
            forward = getattr(roi_head, name, None)
            if forward is not None:
                stack.enter_context(
                    patch.object(roi_head, name, _paused(operators, forward))
                )
        stack.enter_context(as_on_a_gpu())
        stack.enter_context(_Methods(operators))
        stack.enter_context(operators)
        yield operators


def _loss(model, data, operators=None):
    torch.manual_seed(0)
    return model.loss(data['inputs'], data['data_samples'])


def own(distiller, stock, data):
    """What a distiller's step adds to the stock student's and the teacher's.

    Args:
        distiller: With one teacher at most.
        stock: The same student, without a teacher.
        data (dict): A prepared batch.

    Returns:
        tuple[Counter, Counter]: All operators, and those that would make a
        GPU wait.
    """
    _loss(distiller, data)  # what happens once has happened
    stock.load_state_dict(distiller.state_dict(), strict=False)
    teachers = distiller.teachers
    with counted(teachers[0].model if teachers else None) as ours:
        _loss(distiller, data)
    with counted() as theirs:
        _loss(stock, data)
    return ours.counts - theirs.counts, ours.reads - theirs.reads
