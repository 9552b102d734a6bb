"""The plan of step time against the number of GPUs, on paper."""

import re
from pathlib import Path

from luminet_mm.timing import scaling

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_tools_table(capsys, monkeypatch):
    """docs/distributed.md was computed by its command, as the code is now."""
    monkeypatch.chdir(ROOT)
    page = (ROOT / 'docs' / 'distributed.md').read_text(encoding='utf-8')
    (command,) = re.findall(
        r'python -m luminet_mm\.timing\.scaling (.*?)\n```', page, re.S
    )
    scaling.main(command.replace('\\\n', ' ').split())
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith('| ')]
    assert len(rows) > 10
    assert '\n'.join(rows) in page
    assert 'On paper' in page
