"""The command: one file written, one sentence printed, clear refusals."""

import json

import pytest
from made_runs import pair
from parsed_page import Page

from luminet_mm.report.__main__ import main


def test_the_page_is_written_into_the_first_folder(tmp_path, capsys):
    pair(tmp_path, [0.1, 0.2], [0.3, 0.4])
    main([str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith('LumiNet ends 20.0 AP above')
    assert said[1] == f'wrote {tmp_path / "report.html"}'
    page = Page((tmp_path / 'report.html').read_text())
    assert page.texts['verdict'] == said[0]


def test_out_and_metric(tmp_path):
    pair(tmp_path, [0.1, 0.2], [0.3, 0.4])
    out = tmp_path / 'there/x.html'
    main([str(tmp_path), '--out', str(out), '--metric', 'bbox_mAP_50'])
    page = Page(out.read_text())
    assert 'AP50 above' in page.texts['verdict']
    assert page.tables['results'][0][2] == 'AP50'


def test_json_is_written_beside_the_page(tmp_path, capsys):
    pair(tmp_path, [0.1, 0.2], [0.3, 0.4])
    out = tmp_path / 'result.json'
    main([str(tmp_path), '--images', '0', '--json', str(out)])
    assert capsys.readouterr().out.splitlines()[-1] == f'wrote {out}'
    found = json.loads(out.read_text())
    assert found['metric'] == 'coco/bbox_mAP' and len(found['groups']) == 2


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['nowhere'], 'error: nowhere does not exist. Give work dirs'),
        (['--metric', 'top1'], 'error: top1 is not logged by every run'),
        (['--teacher', 'nowhere'], 'error: nowhere does not exist'),
    ],
)
def test_a_mistake_is_one_message(tmp_path, capsys, words, message):
    pair(tmp_path, [0.1], [0.3])
    with pytest.raises(SystemExit):
        main([str(tmp_path), *words] if words[0][0] == '-' else words)
    said = capsys.readouterr().err
    assert message in said and 'Traceback' not in said
    assert not (tmp_path / 'report.html').exists()
