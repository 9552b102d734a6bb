"""Original and here: what papers report, from the headers of the configs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from luminet_mm.methods.loss_tables import replaced
from luminet_mm.methods.markdown import table

PAGE = 'docs/reproduce.md'
PARTS = {
    'coco': ('',),
    'dense': ('one_stage', 'detr', 'maskd'),
    'cifar100': ('cifar100', 'tiny_imagenet'),
    'imagenet': ('imagenet', 'flowers102'),
}
"""Tables of the page, and the folders of ``configs`` that they cover."""
_NUMBER = re.compile(r'(?:AP )?(\d\d(?:\.\d+)?)')


@dataclass(frozen=True)
class Original:
    """A config, and what is known of its result.

    Attributes:
        config: Its path below ``configs``.
        title: The first line of its header.
        paper: What its header says of the paper.
        original: The paper's AP or top-1 accuracy, as printed; empty if it
            has none.
        here: The same of the runs in model-index.yml; empty without runs.
    """

    config: str
    title: str
    paper: str
    original: str
    here: str


def originals(root: Path) -> list[Original]:
    """All configs whose header quotes a number of a paper.

    Args:
        root: The project.
    """
    index = yaml.safe_load((root / 'model-index.yml').read_text('utf-8'))
    results = {each['Config']: _here(each) for each in index['Models']}
    found = []
    for folder in (each for part in PARTS.values() for each in part):
        for path in sorted((root / 'configs' / folder).glob('*.py')):
            header = ast.get_docstring(ast.parse(path.read_text('utf-8')))
            paper = _paper(header or '')
            if paper is None or not (number := _NUMBER.match(paper)):
                continue
            name = path.relative_to(root / 'configs').as_posix()
            here = results.get(f'configs/{name}', '')
            title = (header or '').partition('\n')[0].rstrip('.')
            found.append(Original(name, title, paper, number[1], here))
    return found


def _paper(header: str) -> str | None:
    """The entry ``Paper`` of a header, without what is said of runs here."""
    entry = re.search(r'^Paper +(.*(?:\n +.*)*)', header, re.M)
    if entry is None:
        return None
    text = ' '.join(entry[1].split())
    return re.sub(r' ?\bNot run here yet\.', '', text).rstrip('.')


def _here(model: dict[str, Any]) -> str:
    """The numbers of an entry that has been trained here."""
    return ', '.join(
        f'{value:g}'
        for result in model.get('Results', ())
        for value in result['Metrics'].values()
    )


def reproduce_page(root: Path) -> str:
    """docs/reproduce.md with its tables."""
    page = (root / PAGE).read_text(encoding='utf-8')
    found = originals(root)
    for name, folders in PARTS.items():
        rows = list(_rows(found, folders))
        text = table(['config', 'original', 'here', 'source'], rows)
        page = replaced(page, name, text, PAGE)
    return page


def _rows(
    found: list[Original], folders: tuple[str, ...]
) -> Iterator[list[str]]:
    for each in found:
        folder = each.config.rpartition('/')[0]
        if folder in folders:
            rest = _NUMBER.sub('', each.paper, count=1).strip(' ,;')
            yield [
                f'`{each.config}`',
                each.original,
                each.here,
                rest.replace('|', '\\|'),
            ]
