"""Cells and tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from luminet_mm.losses.base.card import Paper, Source

GITHUB = 'https://github.com/'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, without a line break at the end."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(
        f'|{"|".join(line)}|'
        if line[0] == '---'
        else f'| {" | ".join(line)} |'
        for line in lines
    )


def cited(paper: Paper) -> str:
    return f'[{paper.cite}]({paper.url})'


def sourced(source: Source) -> str:
    files = ''.join(f' `{file}`' for file in source.files)
    licence = {'': '', 'none': ' (no licence file)'}.get(
        source.licence, f' ({source.licence})'
    )
    link = f'[{source.repo}]({GITHUB}{source.repo})'
    return f'{link}{files} {source.commit}{licence}'
