"""Cells and tables in Markdown."""

from luminet_mm.losses.base.card import Paper, Source
from luminet_mm.methods.markdown import cited, sourced, table


def test_table():
    assert table(['a', 'b'], [['1', '2'], ['3', '4']]) == (
        '| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |'
    )


def test_cells_say_who_and_what():
    paper = Paper('A title', 'Doe et al. 2020', 'https://arxiv.org/abs/1')
    assert cited(paper) == '[Doe et al. 2020](https://arxiv.org/abs/1)'
    source = Source('doe/code', 'abcdef0', 'MIT', ('loss.py', 'util.py'))
    assert sourced(source) == (
        '[doe/code](https://github.com/doe/code) `loss.py` `util.py` abcdef0 '
        '(MIT)'
    )
    bare = Source('doe/code', 'abcdef0', 'none')
    assert sourced(bare).endswith('abcdef0 (no licence file)')
    assert sourced(Source('doe/code', 'abcdef0')).endswith(' abcdef0')
