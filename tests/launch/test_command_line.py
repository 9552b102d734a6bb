"""A pair that cannot be read ends in the usage text, not a traceback."""

import argparse

import pytest

from luminet_mm.launch.command_line import OptionsAction


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction)
    return parser.parse_args(['--cfg-options', *words]).cfg_options


def test_pairs():
    assert parse('a.b=1', 'c=[(1,2),(3,4)]') == {
        'a.b': 1,
        'c': [(1, 2), (3, 4)],
    }


@pytest.mark.parametrize(
    'words', [['foo'], ['a=1', 'b'], ['a=[(1,2]'], ['a=[dict(b="x",c=2)]']]
)
def test_what_is_not_a_pair(capsys, words):
    with pytest.raises(SystemExit) as exit_:
        parse(*words)
    assert exit_.value.code == 2
    assert 'write key=value' in capsys.readouterr().err
