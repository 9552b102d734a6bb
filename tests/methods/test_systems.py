"""Every system of the two papers has an answer."""

import re

import pytest

from luminet_mm.methods.systems import systems

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
