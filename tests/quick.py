"""What MMEngine does again and again in a run of the tests, done quickly."""

import ast
import contextlib
import functools
import os
from types import SimpleNamespace

import pytest
from mmengine.config import utils
from mmengine.dataset import base_dataset
from mmengine.registry import DefaultScope
from mmengine.runner import runner
from mmengine.utils import ManagerMixin
from yapf.yapflib import yapf_api

LAY_OUT = yapf_api.FormatCode


def checked(text, **_):
    """In place of yapf, which takes up to a second: text has to be Python."""
    ast.parse(text)
    return text, True


def once(load):
    """Keep what was read, as long as the file is the same."""

    @functools.cache
    def keep(path, written, size):
        return load(path)

    def read(path):
        state = os.stat(path)
        return keep(path, state.st_mtime_ns, state.st_size)

    return read


def forget_runs():
    """Forget what earlier runners of this process left behind by name.

    Two that start in one second have one name, and the second would write
    into the folder of the first, as each kind of visualizer does.
    """
    left = [ManagerMixin]
    while left:
        manager = left.pop()
        manager._instance_dict.clear()
        left += manager.__subclasses__()


@contextlib.contextmanager
def quick_mmengine():
    """Lay no config out; read lists of models and ask for compilers once.

    And collect no garbage for each data set, but as Python does.

    A Runner lays its config out four times and more: for its log, the file in
    its folder, each checkpoint. Text that is not Python raises as ever. Each
    config of a package, `mmdet::...`, is looked up in all of the package's
    lists, which takes a second.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', checked)
        patch.setattr(utils, 'load', once(utils.load))
        patch.setattr(base_dataset, 'gc', SimpleNamespace(collect=int))
        # neither its name nor its scope ever changes
        patch.setattr(
            DefaultScope, '__deepcopy__', lambda self, memo: self, False
        )
        patch.setattr(
            runner, 'collect_env', functools.cache(runner.collect_env)
        )
        yield
