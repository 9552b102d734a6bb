"""docs/results.md and its raw numbers, for the tests that compare them."""

import json
import re
from pathlib import Path

from mmengine.config import Config

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / 'docs' / 'results'
PAGE = (ROOT / 'docs' / 'results.md').read_text(encoding='utf-8')
SPEED = (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8')


def load(name):
    return json.loads((FOLDER / f'{name}.json').read_text())


def grid(name):
    """The groups of a sweep's grid."""
    return Config.fromfile(ROOT / 'configs' / 'sweeps' / f'{name}.py').runs


def check_settings(name):
    """What was run, all of it, has the settings that are in the grid."""
    runs = grid(name)
    for group, entry in load(name).items():
        assert flat(runs[group].to_dict()['options']) == entry['options']


def under(heading, page=PAGE):
    """What a page has between a heading and the next one."""
    text = re.split(rf'^#+ {re.escape(heading)}$', page, flags=re.M)[1]
    return re.split(r'^#+ ', text, flags=re.M)[0]


def rows(heading, page=PAGE, width=None):
    """Cells of the tables under a heading, without marks of emphasis.

    All of them, or those of the tables with so many columns.
    """
    found = re.findall(r'^\| (.*) \|$', under(heading, page), re.M)
    cells = [
        [cell.strip().replace('**', '') for cell in row.split('|')]
        for row in found
        if not set(row) <= set('-| ')
    ]
    return [row for row in cells if width in (None, len(row))]


def block(name, page=PAGE):
    """What a page has between the two marks of a generated table."""
    marks = rf'<!-- {name} -->\n(.*?)<!-- /{name} -->'
    return re.search(marks, page, re.S)[1].strip()


def one_line(text):
    """A text without line breaks, as sentences of a page are compared."""
    return ' '.join(text.split())


def words(path):
    """A file of this project, in one line."""
    return one_line((ROOT / path).read_text(encoding='utf-8'))


def section(heading):
    """The text under a heading, in one line."""
    return one_line(under(heading))


def percent(value):
    return f'{100 * value:.1f}'


def spread(entry):
    return f'{percent(entry["mean"])} ± {percent(entry["std"])}'


def seeds_of(entry):
    return ', '.join(map(percent, entry['last']))


def flat(options, prefix=''):
    """Dotted keys, as in a summary."""
    found = {}
    for key, value in options.items():
        if isinstance(value, dict):
            found |= flat(value, f'{prefix}{key}.')
        else:
            found[prefix + key] = value
    return found
