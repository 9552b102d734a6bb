"""Tests of the contract of families run for each kind of model."""

import pytest

pytest.register_assert_rewrite('signals.contract')


def pytest_generate_tests(metafunc):
    kinds = getattr(metafunc.cls, 'kinds', None)
    if kinds and 'kind' in metafunc.fixturenames:
        metafunc.parametrize('kind', kinds)
