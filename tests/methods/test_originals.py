"""Original and here: numbers of headers, and nothing that was not run."""

import re
from pathlib import Path

import pytest
import yaml

from luminet_mm.methods.originals import PAGE, originals

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / PAGE).read_text(encoding='utf-8')
ROWS = re.findall(r'^\| `(\S+\.py)` \| (\S+) \| (.*?) \| (.*) \|$', TEXT, re.M)
INDEX = {
    each['Config']: each
    for each in yaml.safe_load((ROOT / 'model-index.yml').read_text('utf-8'))[
        'Models'
    ]
}


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row[0])
def test_a_row_has_the_number_of_the_header(row):
    config, original, here, source = row
    header = (ROOT / 'configs' / config).read_text('utf-8').split('"""')[1]
    paper = ' '.join(header.split()).partition(' Paper ')[2]
    assert paper.startswith((original, f'AP {original}'))
    assert source in paper.replace(' Not run here yet.', '')
    model = INDEX.get(f'configs/{config}', {})
    assert bool(here) == ('Results' in model)
    assert bool(here) != ('Not run here yet' in paper)


def test_every_config_with_a_number_is_listed_once():
    listed = [row[0] for row in ROWS]
    assert len(listed) == len(set(listed)) > 100
    for path in (ROOT / 'configs').rglob('*.py'):
        text = ' '.join(path.read_text('utf-8').split())
        found = re.search(r' Paper (?:AP )?\d\d(?:\.\d+)?\b', text)
        if found and 'Needs' in text[: found.start()]:
            name = path.relative_to(ROOT / 'configs').as_posix()
            assert name in listed, name


def test_a_result_of_the_index_is_here(tmp_path):
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs/a_coco.py').write_text(
        '"""A: b.\n\nNeeds    x\nPaper    AP 35.34, AP50 56.8 (LumiNet);\n'
        '         alone 33.26.\nDerived  y.\n"""\n'
    )
    (tmp_path / 'model-index.yml').write_text(
        'Models:\n  - Name: a_coco\n    Config: configs/a_coco.py\n'
        '    Results:\n      - Metrics:\n          box AP: 35.2\n'
    )
    (found,) = originals(tmp_path)
    assert (found.original, found.here) == ('35.34', '35.2')
    assert found.paper == 'AP 35.34, AP50 56.8 (LumiNet); alone 33.26'
    assert found.title == 'A: b'
