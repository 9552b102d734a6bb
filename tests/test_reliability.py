"""docs/reliability.md names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'reliability.md'
TEST = re.compile(r'`(tests/[\w/]+\.py)::(\w+)`')


def rows():
    """The cells of each line of the page's tables, without their heads."""
    lines = [
        line
        for line in PAGE.read_text('utf-8').splitlines()
        if line[:1] == '|'
    ]
    cells = [
        [cell.strip() for cell in line[1:-1].split('|')] for line in lines
    ]
    return [
        row
        for row in cells
        if row[0] != 'what was tried' and row[0][:3] != '---'
    ]


@cache
def functions(path):
    tree = ast.parse((ROOT / path).read_text('utf-8'))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


def test_every_fault_has_its_test():
    assert len(rows()) > 90
    for row in rows():
        assert len(row) == 3, row
        assert all(row), row
        assert TEST.search(row[2]), row


def test_the_tests_exist():
    gone = []
    for row in rows():
        for path, name in TEST.findall(row[2]):
            there = (ROOT / path).is_file() and name in functions(path)
            if not there or not name.startswith('test_'):
                gone.append(f'{path}::{name}')
    assert not gone
