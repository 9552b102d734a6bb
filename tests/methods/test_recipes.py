"""Every system of the two papers has an answer that exists."""

import re
from pathlib import Path

import pytest

import luminet_mm.losses
import luminet_mm.models
from luminet_mm import distillers, hooks, optim
from luminet_mm.methods.pages import methods_page
from luminet_mm.methods.recipes import RECIPES, systems

ROOT = Path(__file__).parents[2]
# the rows and columns of the tables, by the papers' own words
TABLES = {
    'LumiNet 1': 'FitNet RKD CRD OFD ReviewKD FCFD KD DML TAKD DKD LumiNet',
    'LumiNet 2': 'AT OFD CRD ReviewKD KD DML TAKD DKD LumiNet',
    'LumiNet 3': 'KD RKD FitNet OFD CRD ReviewKD DKD LumiNet',
    'LumiNet 4': 'FitNet FGFI ReviewKD KD TAKD DKD LumiNet',
    'LumiNet 5': 'MLLD LumiNet',
    'LumiNet 6': 'KD LumiNet',
    'projector 1': 'Co-advise DeiT DearKD USKD FunMatch SRD RegNetY-160',
    'projector 2': 'AT KD CC CRD ReviewKD SRD',
    'projector 3': 'KD CRD ReviewKD DKD SRD',
}


def tables_of(text):
    """'LumiNet 1–3, 5; projector 2' as a set of tables."""
    found = set()
    for part in text.split(';'):
        match = re.match(r'\s*(LumiNet|projector) ([\d–, ]+)', part)
        for piece in (match[2] if match else '').split(','):
            low, _, high = piece.strip().partition('–')
            if low:
                span = range(int(low), int(high or low) + 1)
                found |= {f'{match[1]} {number}' for number in span}
    return found


@pytest.mark.parametrize('table', TABLES)
def test_every_system_of_a_table_is_there(table):
    named = {name for name, where, _ in systems() if table in tables_of(where)}
    assert set(TABLES[table].split()) <= named


def test_classes_and_configs_exist():
    page = methods_page(ROOT)
    page = page[page.index('## Methods that are not a loss') :]
    places = (luminet_mm.losses, luminet_mm.models, distillers, hooks)
    places += (optim,)
    for name in set(re.findall(r'`([\w/.-]+)`', page)):
        if name.endswith('.py'):
            assert (ROOT / 'configs' / name).is_file(), name
        elif name != 'model.teacher':
            assert any(hasattr(place, name) for place in places), name


def test_recipes_have_a_config_or_say_what_is_missing():
    for recipe in RECIPES:
        assert recipe.configs or 'no code is public' in recipe.how
