"""Texts of configs and their differences."""

from made_runs import LOSS, config

from luminet_mm.report.configs import config_text, diff


def test_a_text_is_without_the_runs_folder():
    text = config_text(dict(config(), work_dir='here', launcher='none'))
    assert "type='FasterRCNN'" in text
    assert 'here' not in text and 'launcher' not in text


def test_a_difference_shows_what_was_added():
    before, after = (
        config_text(config(block)) for block in (None, dict(loss_kd=LOSS))
    )
    found = diff('a → b', before, after)
    kind, line = found.lines[2]
    assert kind == 'del' and "type='FasterRCNN'" in line
    assert ('add', "+    type='luminet_mm.TwoStageDistiller')") in found.lines
    assert found.lines[0][0] == 'at'
    assert {kind for kind, _ in found.lines} == {'at', 'add', 'del', ''}
    assert diff('a → a', before, before).lines == []
