"""Crafted checkpoints: one kind of error, and nothing of them runs."""

import io
import os
import pickle
import random
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from luminet_mm.files.errors import CheckpointError, UnsafeCheckpointError
from luminet_mm.loading.checkpoint import get_state_dict, load_checkpoint


def content_of(value, legacy=False):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def training_checkpoint():
    weights = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
    ).state_dict()
    return dict(
        meta=dict(epoch=1, dataset_meta=dict(classes=('a', 'b'))),
        state_dict=weights,
        optimizer=dict(state={0: dict(step=torch.ones(1))}, param_groups=[]),
        message_hub=dict(
            log_scalars=OrderedDict(
                loss=HistoryBuffer(np.array([1.0, 2.0]), np.array([1, 1]))
            ),
            runtime_info=dict(seed=np.int64(3), name=np.str_('abc')),
        ),
    )


def test_real_types_come_out():
    """What is loaded is saved again: no stand-in may stay in it."""
    buffer = io.BytesIO(content_of(training_checkpoint()))
    path = 'not used'
    from luminet_mm.loading.checkpoint import read_checkpoint

    loaded = read_checkpoint(buffer, path, 'cpu')
    hub = loaded['message_hub']
    history = hub['log_scalars']['loss']
    assert type(history) is HistoryBuffer
    assert type(history._log_history) is np.ndarray
    assert history.mean() == 1.5 and history.current() == 2
    history.update(3.0)
    assert type(hub['runtime_info']['seed']) is np.int64
    assert hub['runtime_info']['name'] == 'abc'
    again = content_of(loaded)
    names = torch.serialization.get_unsafe_globals_in_checkpoint(
        io.BytesIO(again)
    )
    assert not [name for name in names if 'luminet' in name]


@pytest.mark.parametrize(
    'array',
    [
        np.arange(12, dtype='>i4').reshape(3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3)),
        np.array(5.0),
        np.array(['ab', 'c']),
        np.array([True, False]),
        np.array([1 + 2j]),
    ],
)
def test_arrays_keep_content_and_layout(tmp_path, array):
    path = tmp_path / 'a.pth'
    torch.save(dict(a=(array, [array])), path)
    loaded = load_checkpoint(path)
    for value in (loaded['a'][0], loaded['a'][1][0]):
        assert type(value) is np.ndarray and value.flags.writeable
        assert value.dtype == array.dtype and value.shape == array.shape
        assert (value == array).all()
        assert value.flags.f_contiguous == array.flags.f_contiguous


class Dtype:
    """Pickles as a dtype with any code and state."""

    def __init__(self, code, state):
        self.code, self.state = code, state

    def __reduce__(self):
        return np.dtype, (self.code, False, True), self.state


class Array:
    def __init__(self, dtype, data, shape=(1,)):
        self.dtype, self.data, self.shape = dtype, data, shape

    def __reduce__(self):
        made = np.zeros(1).__reduce__()
        return made[0], made[1], (1, self.shape, self.dtype, False, self.data)


class Scalar:
    def __init__(self, dtype, data):
        self.args = dtype, data

    def __reduce__(self):
        return np.float64(0).__reduce__()[0], self.args


PLAIN = (3, '<', None, None, None, -1, -1, 0)
# numpy takes the bytes of such an array for the address of an object
HIDDEN = (3, '|', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 1, 0)


@pytest.mark.parametrize(
    'value',
    [
        Array(Dtype('V8', HIDDEN), b'A' * 8),
        Array(Dtype('V8', (3, '|', None, None, None, 8, 1, 63)), b'A' * 8),
        Array(np.dtype('O'), [1]),
        Array(np.dtype('O'), b'A' * 8),
        Array(np.dtype([('a', 'O')]), b'A' * 8),
        Array(Dtype('f8', PLAIN), b'A' * 8, (10**12,)),
        Array(Dtype('f8', PLAIN), b'A' * 8, (-1,)),
        Array(Dtype('f8', PLAIN), b'A' * 8, 'text'),
        Array(Dtype('f8', PLAIN), ['A'] * 8),
        Array(5, b'A' * 8),
        Array(Dtype('f8', 'text'), b'A' * 8),
        Array(Dtype('f8', (3, 'x', None, None, None, -1, -1, 0)), b'A' * 8),
        Array(Dtype('f8,O', PLAIN), b'A' * 16),
        Array(Dtype('U999999999', PLAIN), b'A' * 16),
        Scalar(Dtype('V8', HIDDEN), b'A' * 8),
        Scalar(Dtype('f8', PLAIN), b'A'),
        Scalar(np.dtype('O'), b'A' * 8),
        Scalar('f8', b'A' * 8),
    ],
)
def test_crafted_numpy_values_are_refused(tmp_path, value):
    path = tmp_path / 'a.pth'
    torch.save(dict(x=value), path)
    with pytest.raises(CheckpointError, match='a.pth'):
        load_checkpoint(path)


def test_an_array_without_content_is_refused(tmp_path):
    class Bare:
        def __reduce__(self):
            return np.zeros(1).__reduce__()[:2]

    path = tmp_path / 'a.pth'
    torch.save(dict(x=Bare()), path)
    with pytest.raises(UnsafeCheckpointError, match='without content'):
        load_checkpoint(path)


@pytest.mark.parametrize(
    'tensor',
    [
        torch.zeros(1).expand(10**12),
        torch.zeros(1).as_strided((10**6, 10**6), (0, 0)),
        torch.empty(10**12, device='meta'),
    ],
)
def test_tensors_without_their_numbers_are_refused(tmp_path, tensor):
    """Copying one would fill the memory."""
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=dict(w=tensor)), path)
    with pytest.raises(CheckpointError, match=r'a\.pth'):
        load_checkpoint(path)


def test_a_small_expanded_tensor_loads(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(w=torch.ones(1).expand(100)), path)
    assert load_checkpoint(path)['w'].sum() == 100


def test_a_checkpoint_that_holds_itself(tmp_path):
    circle: dict = dict(w=torch.ones(1))
    circle['self'] = [circle]
    path = tmp_path / 'a.pth'
    torch.save(circle, path)
    assert list(get_state_dict(load_checkpoint(path))) == ['w']


def mutated(content, legacy, draw):
    """Change, cut or repeat a few bytes; of a ZIP those of its pickle."""

    def change(data):
        data = bytearray(data)
        for _ in range(draw.choice([1, 1, 2, 8])):
            at = draw.randrange(len(data))
            kind = draw.randrange(4)
            if kind == 0:
                data[at] = draw.randrange(256)
            elif kind == 1:
                del data[at : at + draw.randrange(1, 9)]
            elif kind == 2:
                end = min(len(data), at + draw.randrange(1, 30))
                data[at:at] = data[at:end]
            else:  # an opcode in the place of another
                data[at] = draw.choice(b'(.0125FIJKLMNRSTUVX]abcdeghijlopqrst')
            if not data:
                return b''
        return bytes(data)

    if legacy or draw.random() < 0.3:
        return change(content)
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, 'w') as new,
    ):
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith('data.pkl'):
                data = change(data)
            new.writestr(entry.filename, data)
    return buffer.getvalue()


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.filterwarnings('ignore')
def test_mutated_checkpoints_raise_one_kind_of_error(tmp_path, legacy):
    draw = random.Random(int(legacy))
    content = content_of(training_checkpoint(), legacy)
    path = tmp_path / 'a.pth'
    refused = 0
    for _ in range(600):
        path.write_bytes(mutated(content, legacy, draw))
        try:
            get_state_dict(load_checkpoint(path))
        except CheckpointError as error:
            assert 'a.pth' in str(error) or 'no weights' in str(error)
            refused += 1
    assert refused > 200


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_a_plain_pickle_is_not_run(tmp_path, protocol):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'marker'),)

    path = tmp_path / 'a.pth'
    path.write_bytes(pickle.dumps(dict(w=Evil()), protocol))
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert not (tmp_path / 'marker').exists()
    assert '--trust' not in str(error.value)
