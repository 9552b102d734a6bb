"""Read pickle and YAML data files as data only.

Annotations and proposals may be pickles or YAML, and both can call any
function when MMEngine opens them.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]
from mmengine.fileio.handlers import registry_utils
from mmengine.fileio.handlers.pickle_handler import PickleHandler
from mmengine.fileio.handlers.yaml_handler import YamlHandler
from mmengine.structures import InstanceData

from luminet_mm.files.errors import CheckpointError, DataFileError
from luminet_mm.files.plain_types import finished, plain_globals
from luminet_mm.loading.checkpoint import read_checkpoint


class DataUnpickler(pickle.Unpickler):
    """Builds only numbers, strings, containers, arrays, tensors and boxes."""

    def find_class(self, module: str, name: str) -> Any:
        """Look a name up in the list and nowhere else.

        Raises:
            pickle.UnpicklingError: If it is not in the list.
        """
        full = f'{module}.{name}'
        if full not in _KNOWN:
            raise pickle.UnpicklingError(f'it asks for `{full}`')
        return _KNOWN[full]


class SafePickleHandler(PickleHandler):
    """Reads a pickle without running code in it."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Read an open file.

        Raises:
            DataFileError: If it asks for more than data, or is broken.
        """
        try:
            return finished(DataUnpickler(file, **kwargs).load())
        except Exception as error:  # a crafted file can raise anything
            raise DataFileError(
                'A pickle of the data (ann_file, proposal_file or the like) '
                f'cannot be read as data: {str(error)[:200]}. Nothing in it '
                'was run. It may hold numbers, strings, lists, dicts, arrays, '
                'tensors and boxes. If you trust it, repeat the command with '
                '--trust, which lets such files run code.'
            ) from error


class SafeYamlHandler(YamlHandler):
    """Reads YAML without the tags that call functions."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Read an open file.

        Raises:
            DataFileError: If it asks for more than data, or is broken.
        """
        try:
            return yaml.load(file, **dict(kwargs, Loader=yaml.SafeLoader))
        except yaml.YAMLError as error:
            raise DataFileError(
                'A YAML file of the data (ann_file or the like) cannot be '
                f'read as data: {str(error)[:200]}. Nothing in it was run.'
            ) from error


def install_data_handlers(trust: bool) -> None:
    """Make MMEngine read pickles and YAML as data from now on.

    Args:
        trust: Restore the handlers that may run code instead.
    """
    pickles = PickleHandler() if trust else SafePickleHandler()
    yamls = YamlHandler() if trust else SafeYamlHandler()
    registry_utils.file_handlers.update(
        pickle=pickles, pkl=pickles, yaml=yamls, yml=yamls
    )


def restore_data_handlers(before: dict[str, Any]) -> None:
    """Put back a copy of MMEngine's table of handlers."""
    registry_utils.file_handlers.clear()
    registry_utils.file_handlers.update(before)


def _storage_from_bytes(content: Any) -> Any:
    """Stand in for torch's function, which unpickles."""
    if not isinstance(content, bytes):
        raise pickle.UnpicklingError('a tensor without bytes')
    try:
        return read_checkpoint(io.BytesIO(content), 'a tensor', 'cpu')
    except CheckpointError as error:
        raise pickle.UnpicklingError(str(error)) from error


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    """Bytes, as pickles of protocol 2 write them."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'an encoding {encoding!r:.40}')
    return text.encode('latin1')


class _Boxes(InstanceData):
    """Boxes whose methods the file cannot replace."""

    def __setstate__(self, state: dict) -> None:
        InstanceData.__init__(self)
        state = finished(state)
        meta = state.pop('_metainfo_fields', ())
        state.pop('_data_fields', None)
        self.set_metainfo({key: state.pop(key) for key in list(meta)})
        for key, value in state.items():
            setattr(self, key, value)
        object.__setattr__(self, '__class__', InstanceData)


_KNOWN: dict[str, Any] = {
    **{
        name: made
        for name, made in plain_globals().items()
        if 'HistoryBuffer' not in name and 'getattr' not in name
    },
    '_codecs.encode': _encode,
    'collections.OrderedDict': OrderedDict,
    'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
    'torch.storage._load_from_bytes': _storage_from_bytes,
    'torch.Size': torch.Size,
    'builtins.set': set,
    '__builtin__.set': set,
    'mmengine.structures.instance_data.InstanceData': _Boxes,
}
