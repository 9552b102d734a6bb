"""A few steps are timed, whatever weights are missing."""

import logging

import pytest
from mmengine.logging import MMLogger
from shapes import write_coco

from luminet_mm.recipe.configs import write_configs
from luminet_mm.recipe.measure import measure
from luminet_mm.recipe.reading import read_data
from luminet_mm.recipe.request import Request


def test_a_pair_whose_teacher_is_not_trained_yet(tmp_path, capsys):
    root = write_coco(tmp_path / 'set', {'train': 9, 'val': 3})
    request = Request(str(root), str(tmp_path / 'out'))
    data = read_data(root, tmp_path / 'out' / 'annotations')
    write_configs(request, data, 2)
    level = MMLogger.get_current_instance().level
    costs = measure(request.config('distilled'), tmp_path / 'log')
    assert (costs.steps, costs.validated) == (3, 3)
    assert 0 < costs.step < 60 and 0 < costs.image < 60
    assert MMLogger.get_current_instance().level == level
    out, err = capsys.readouterr()
    assert 'random weights' not in out + err


def test_a_fault_does_not_silence_the_log(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text("model = dict(type='NoSuchModel')\n")
    with pytest.raises(KeyError):
        measure(path, tmp_path / 'log')
    assert MMLogger.get_current_instance().level != logging.ERROR
