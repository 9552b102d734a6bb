"""What is done quickly still finds what it found."""

import os

import pytest
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config, utils
from mmengine.registry import DefaultScope
from quick import forget_runs, once


def test_a_config_that_is_not_python_is_refused():
    assert Config(dict(a=1, b=dict(c='d'))).pretty_text
    with pytest.raises(SyntaxError, match='Failed to format'):
        _ = Config(dict(a=object())).pretty_text


def test_a_file_that_has_changed_is_read_again(tmp_path):
    path, calls = tmp_path / 'a.yml', []

    def load(path):
        calls.append(path)
        return path.read_text()

    read = once(load)
    path.write_text('one')
    assert read(path) == read(path) == 'one' and len(calls) == 1
    path.write_text('two')
    os.utime(path, ns=(1, 1))  # whatever the clock's ticks are
    assert read(path) == 'two'


def test_lists_of_models_are_read_once(tmp_path):
    path = tmp_path / 'model-index.yml'
    path.write_text('Import: []')
    assert utils.load(path) is utils.load(path)


def test_a_scope_ends_with_its_block():
    before = dict(DefaultScope._instance_dict)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        scope = DefaultScope.get_current_instance()
        assert scope.scope_name == 'mmpretrain'
    assert DefaultScope._instance_dict == before
    assert DefaultScope.get_current_instance().scope_name == 'mmdet'


def test_runs_of_one_second_are_told_apart():
    """A zoo's visualizer is kept under its own class."""
    first = DetLocalVisualizer.get_instance('work_20260101_000000')
    forget_runs()
    assert DetLocalVisualizer.get_instance('work_20260101_000000') is not first
    forget_runs()


@pytest.mark.usefixtures('laid_out')
def test_a_test_may_ask_for_the_layout():
    assert Config(dict(a=1)).pretty_text == 'a = 1\n'
