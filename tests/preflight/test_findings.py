"""What a check of the data found: lists, and words for them."""

import pytest

from luminet_mm.preflight.findings import Findings, counted, such_as


def test_what_has_to_stop_a_run_is_apart():
    one, other = Findings(), Findings(['a: 1'], ['a: 2'], ['three'])
    one.add('b', True, 'fault')
    one.add('b', False, 'warning')
    one += other
    assert one.faults == ['b: fault', 'a: 1']
    assert one.warnings == ['b: warning', 'a: 2']
    assert one.notes == ['three']


def _stumble_findings(*_):
    raise KeyError('odd data')


def test_a_check_that_fails_keeps_nobody_from_training():
    found = Findings()
    found.attempt('data', _stumble_findings, 1)
    found.attempt('data', lambda n: Findings([str(n)]), 1)
    assert found.faults == ['1']
    assert found.warnings == [
        "data: not checked, since stumble_findings met KeyError: 'odd data'"
    ]


@pytest.mark.parametrize(
    'examples, count, said',
    [
        ([], None, ''),
        ('abc', None, 'a, b, c'),
        ('abcd', None, 'such as a, b, c'),
        (iter('ab'), 9, 'such as a, b'),
    ],
)
def test_three_are_named(examples, count, said):
    assert such_as(examples, count) == said


def test_a_number_and_its_noun():
    assert counted(1, 'box', 'boxes') == '1 box'
    assert counted(2, 'box', 'boxes') == '2 boxes'
    assert counted(0, 'photo') == '0 photos'
