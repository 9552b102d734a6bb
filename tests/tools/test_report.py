"""tools/report.py: from runs of tools/train.py to a page."""

import copy

import pytest
from parsed_page import Page, check_self_contained
from tiny import distiller


def test_the_page_of_two_real_runs(run_tool, config, dump, tmp_path, capsys):
    student, boss = tmp_path / 'student', tmp_path / 'boss.pth'
    run_tool('train', dump(config), '--work-dir', student)
    (student / 'epoch_1.pth').rename(boss)
    run_tool(
        'test', dump(config, 'boss.py'), boss, '--work-dir', tmp_path / 'boss'
    )
    (student / 'epoch_1.pth').write_bytes(boss.read_bytes())
    config.model = distiller(
        copy.deepcopy(config.model),
        teacher=copy.deepcopy(config.model),
        checkpoint=str(boss),
    )
    luminet = tmp_path / 'luminet'
    run_tool('train', dump(config, 'luminet.py'), '--work-dir', luminet)
    capsys.readouterr()
    run_tool('report', student, luminet, '--teacher', tmp_path / 'boss')

    said = capsys.readouterr().out
    assert 'One run of each cannot tell that from chance' in said
    page = Page((student / 'report.html').read_text())
    check_self_contained(page)
    assert page.open == []
    results = page.table('results')
    assert list(results) == ['student alone', 'LumiNet', 'teacher']
    assert results['teacher'] == results['student alone']  # its weights
    by_class = page.table('by-class')
    # the page's own evaluation agrees with the runs' logs
    assert by_class['all classes'] == [row[1] for row in results.values()]
    states = [row[3] for row in page.tables['runs'][1:]]
    assert states == ['ended at epoch 1'] * 2 + ['evaluated']
    assert 'notes' not in page.ids
    assert 'luminet_mm.TwoStageDistiller' in page.text()


def test_a_folder_without_runs_is_one_message(run_tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_tool('report', tmp_path)
    said = capsys.readouterr().err
    assert said.startswith(f'error: {tmp_path} is not a work dir')
    assert len(said.splitlines()) == 1
