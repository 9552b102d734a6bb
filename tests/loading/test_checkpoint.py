"""Loading checkpoints: MMEngine's own load, code in a file never runs."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from luminet_mm.files.errors import CheckpointError, UnsafeCheckpointError
from luminet_mm.loading.checkpoint import get_state_dict, load_checkpoint


class Evil:
    """Unpickling it would make a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Custom:
    """A harmless class that weights nevertheless do not need."""


def save(content, path):
    torch.save(content, path)
    return path


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """What a Runner writes, with averaged weights and schedulers."""
    from tiny import detector, runner

    work = tmp_path_factory.mktemp('work')
    runner(
        detector(),
        work,
        max_epochs=1,
        custom_hooks=[dict(type='EMAHook')],
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=3),
            dict(type='MultiStepLR', milestones=[1]),
        ],
    ).train()
    return work / 'epoch_1.pth'


def test_a_training_checkpoint_loads_whole(trained):
    needs = torch.serialization.get_unsafe_globals_in_checkpoint(trained)
    assert 'builtins.getattr' in needs  # or this test would prove little
    checkpoint = load_checkpoint(trained)
    assert {'state_dict', 'optimizer', 'message_hub', 'meta'} <= set(
        checkpoint
    )
    losses = checkpoint['message_hub']['log_scalars']['train/loss']
    assert isinstance(losses, HistoryBuffer)
    assert np.isfinite(losses.mean()) and len(losses.data[0]) == 4
    expected = torch.load(trained, weights_only=False)['state_dict']
    for key, value in checkpoint['state_dict'].items():
        assert torch.equal(value, expected[key])


def test_a_file_cannot_change_the_statistics_of_logs(tmp_path):
    before = dict(HistoryBuffer._statistics_methods)
    history = HistoryBuffer([1.0, 3.0], [1, 1])
    history._statistics_methods = dict(mean=HistoryBuffer.max)
    path = save(dict(history=history), tmp_path / 'a.pth')
    load_checkpoint(path)
    assert HistoryBuffer._statistics_methods == before


@pytest.mark.parametrize(
    'dtype',
    [
        'bool',
        'int8',
        'int32',
        'int64',
        'uint8',
        'float16',
        'float32',
        'float64',
        'U3',
    ],
)
def test_numpy_arrays_and_scalars(tmp_path, dtype):
    array = np.array([1, 0, 1]).astype(dtype)
    path = save(dict(array=array, scalar=array[0]), tmp_path / 'a.pth')
    loaded = load_checkpoint(path)
    assert loaded['array'].dtype == array.dtype
    assert (loaded['array'] == array).all()
    assert loaded['scalar'] == array[0]


@pytest.mark.parametrize('core', ['numpy.core', 'numpy._core'])
def test_arrays_of_both_numpy_generations(tmp_path, core):
    """The pickled module name differs; the content does not."""
    path = tmp_path / 'a.pth'
    torch.save(
        dict(a=np.arange(3.0), b=np.float64(2)),
        path,
        _use_new_zipfile_serialization=False,
    )
    content = path.read_bytes()
    now = np.zeros(1).__reduce__()[0].__module__.split('.multi')[0]
    assert f'c{now}.multiarray'.encode() in content
    path.write_bytes(
        content.replace(
            f'c{now}.multiarray'.encode(), f'c{core}.multiarray'.encode()
        )
    )
    loaded = load_checkpoint(path)
    assert loaded['a'].tolist() == [0, 1, 2] and loaded['b'] == 2


@pytest.mark.parametrize('legacy', [False, True])
def test_code_is_refused_and_not_run(tmp_path, legacy):
    folder = tmp_path / 'made_by_the_file'
    path = tmp_path / 'evil.pth'
    torch.save(
        dict(state_dict=dict(w=torch.ones(1)), x=Evil(folder)),
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(UnsafeCheckpointError) as error:
        load_checkpoint(path)
    assert not folder.exists()
    message = str(error.value)
    assert 'mkdir' in message and str(path) in message
    assert f'tools/publish.py --trust {path}' in message


def test_getattr_opens_nothing_but_log_statistics(tmp_path):
    class Door:
        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    path = tmp_path / 'door.pth'
    torch.save(dict(x=Door()), path)
    with pytest.raises(UnsafeCheckpointError, match='builtins.getattr'):
        load_checkpoint(path)


def test_a_class_is_refused_by_name(tmp_path):
    with pytest.raises(UnsafeCheckpointError, match='Custom'):
        load_checkpoint(save(dict(x=Custom()), tmp_path / 'a.pth'))


def test_what_the_user_allowed_stays_allowed(tmp_path):
    torch.serialization.add_safe_globals([HistoryBuffer, np.dtype])
    try:
        load_checkpoint(save(dict(a=1), tmp_path / 'a.pth'))
        allowed = torch.serialization.get_safe_globals()
        assert HistoryBuffer in allowed and np.dtype in allowed
        assert not [a for a in allowed if isinstance(a, tuple)]
    finally:
        torch.serialization.clear_safe_globals()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.pth does not exist'):
        load_checkpoint(tmp_path / 'gone.pth')
    with pytest.raises(FileNotFoundError, match='is a folder'):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize('keep', [0, 0.5, 0.95])
def test_a_file_cut_short(tmp_path, keep):
    path = save(dict(w=torch.rand(1000)), tmp_path / 'cut.pth')
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match='cut.pth.*(cut short|empty)'):
        load_checkpoint(path)


def npz(path):
    np.savez(path.with_suffix('.npz'), a=np.ones(3))
    return path.with_suffix('.npz').read_bytes()


@pytest.mark.parametrize(
    'content, kind',
    [
        (b'', 'empty'),
        (b'\n<!DOCTYPE html>\n<html>Log in</html>', 'an HTML page.*download'),
        (b'<HTML><body>404', 'an HTML page'),
        (
            b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
            'a Git LFS pointer.*git lfs pull',
        ),
        (b'Not Found', "a text file that begins with 'Not Found'"),
        ('Schl\u00fcssel '.encode() * 600, 'a text file that begins'),
        (b'{"error": "rate limit"}', 'a text file that begins'),
        (b'\x1f\x8b\x08\x00\x01', 'a gzip archive'),
        (b'\x93NUMPY\x01\x00', 'a NumPy array'),
        (npz, 'a ZIP archive without weights'),
        (b'\x10\0\0\0\0\0\0\0{"a":{}}      ', 'a safetensors file'),
        (pickle.dumps(dict(w=1)), 'not a file that torch.save wrote'),
        (b'\x80\x02' + b'\xff' * 99, 'not a file that torch.save wrote'),
    ],
)
def test_a_file_that_is_not_a_checkpoint_is_named(tmp_path, content, kind):
    """Trust would not help, so it is not advised."""
    path = tmp_path / 'page.pth'
    path.write_bytes(content(path) if callable(content) else content)
    with pytest.raises(CheckpointError, match=f'page.pth is {kind}') as error:
        load_checkpoint(path)
    assert '--trust' not in str(error.value)
    assert not isinstance(error.value, UnsafeCheckpointError)


def test_torchscript_is_named(tmp_path):
    path = tmp_path / 'script.pth'
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    with pytest.raises(CheckpointError, match='a TorchScript archive'):
        load_checkpoint(path)


def test_content_that_is_not_a_dict_of_weights(tmp_path):
    with pytest.raises(ValueError, match='holds a list'):
        load_checkpoint(save([1], tmp_path / 'list.pth'))


def test_unknown_scheme():
    with pytest.raises(ValueError, match='s3://.*not supported'):
        load_checkpoint('s3://bucket/a.pth')


@pytest.mark.parametrize('key', ['state_dict', 'meta', 'ema_state_dict'])
@pytest.mark.parametrize('value', [[1], 'text', 5, torch.ones(1)])
def test_entries_of_a_wrong_type(tmp_path, key, value):
    path = save({'w': torch.ones(1), key: value}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=f"a.pth: its entry '{key}'"):
        load_checkpoint(path)


def test_state_dict_is_found():
    weights = dict(a=torch.ones(1))
    for checkpoint in (
        weights,
        dict(state_dict=weights, meta={}),
        dict(model=weights),
        dict(state_dict={'module.a': weights['a']}),
    ):
        assert list(get_state_dict(checkpoint)) == ['a']
    with pytest.raises(ValueError, match='holds no weights'):
        get_state_dict(dict(meta={}))


def test_state_dict_keeps_module_versions():
    model = torch.nn.DataParallel(torch.nn.Sequential(torch.nn.BatchNorm2d(2)))
    weights = get_state_dict(dict(state_dict=model.state_dict()))
    plain = model.module.state_dict()
    assert list(weights) == list(plain)
    assert weights._metadata == plain._metadata


@pytest.mark.parametrize('versions', [5, {'a': 1}, {'a': {'version': 'x'}}])
def test_odd_versions_of_modules_are_left_out(tmp_path, versions):
    weights = OrderedDict(a=torch.ones(1))
    weights._metadata = versions
    loaded = load_checkpoint(save(weights, tmp_path / 'a.pth'))
    assert get_state_dict(loaded)._metadata == {}
