"""Texts of configs and their differences."""

import pytest
from made_runs import LOSS, config, write_run

from luminet_mm.report.configs import config_text, diff, written
from luminet_mm.report.groups import make_groups
from luminet_mm.report.runs import find_runs

pytestmark = pytest.mark.usefixtures('laid_out')


def test_a_text_is_without_the_runs_folder(tmp_path):
    settings = dict(config(), work_dir='here', launcher='none')
    write_run(tmp_path / 'a', settings, [0.1])
    text = config_text(make_groups(find_runs([tmp_path]))[0])
    assert text == written(config()) and "type='FasterRCNN'" in text
    assert written({}) == ''


def test_a_difference_shows_what_was_added():
    before, after = (
        written(config(block)) for block in (None, dict(loss_kd=LOSS))
    )
    found = diff('a → b', before, after)
    kind, line = found.lines[2]
    assert kind == 'del' and "type='FasterRCNN'" in line
    assert ('add', "+    type='luminet_mm.TwoStageDistiller')") in found.lines
    assert found.lines[0][0] == 'at'
    assert {kind for kind, _ in found.lines} == {'at', 'add', 'del', ''}
    assert diff('a → a', before, before).lines == []
