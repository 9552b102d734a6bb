"""docs/compare.md: every other project has its commit and its date."""

import re
from pathlib import Path

from luminet_mm.methods import METHODS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'compare.md').read_text(encoding='utf-8')
PROJECTS = (
    'MMDetection',
    'MMRazor',
    'MMRazor in MasKD',
    'mdistiller',
    'torchdistill',
    'timm',
    'Ultralytics',
    'lightly-train',
    'Model-Optimizer',
    'TAO',
    'PaddleDetection',
    'LibreYOLO',
    'RT-DETRv4',
)


def tables():
    """Rows of the two tables, without their heads."""
    found = re.findall(r'(?:^\|.*\n)+', PAGE, re.M)
    assert len(found) == 2
    for text in found:
        rows = [
            [cell.strip() for cell in line.strip()[1:-1].split('|')]
            for line in text.splitlines()
        ]
        assert len({len(row) for row in rows if '---' not in row[0]}) == 1
        yield rows[2:]


def test_every_project_is_in_both_tables_in_one_order():
    where, what = tables()
    ours, *others = [row[0] for row in what]
    assert ours == where[0][0] == 'luminet_mm'
    assert others == list(PROJECTS)
    for project, row in zip(PROJECTS, where[1:], strict=True):
        name = project.partition(' ')[0]
        assert name in row[0]
        assert re.search(r'\]\(https://github\.com/[\w-]+/[\w-]+\)', row[0])


def test_every_source_has_commit_licence_and_date():
    where, _ = tables()
    for row in where[2:]:  # MMDetection is an installed package
        assert re.search(r'\b[0-9a-f]{7}\b', row[1]), row[0]
        assert re.search(r'\b20\d\d-\d\d-\d\d$', row[5]), row[0]
        assert row[2] in ('Apache-2.0', 'MIT', 'AGPL-3.0')


def test_our_numbers_of_losses_are_those_of_the_cards():
    logits = sum(bool(each.card.formula) for each in METHODS)
    found = re.findall(r'\[(\d+) losses\]\(methods\.md\)', PAGE)
    assert [*map(int, found)] == [logits, len(METHODS) - logits]


def test_the_readme_names_them_all():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    part = text.partition('## How it compares\n')[2].partition('\n## ')[0]
    for project in PROJECTS:
        if project != 'MMRazor in MasKD':
            assert project in part, project
