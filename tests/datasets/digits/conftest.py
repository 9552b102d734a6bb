"""Digits data that several files of tests read."""

import pytest
from digits import read

from luminet_mm.datasets import (
    make_digits,
)
from luminet_mm.datasets.digits import sources as digit_sources


@pytest.fixture(scope='session')
def root(tmp_path_factory):
    """Sixty images of train, thirty of val."""
    root = tmp_path_factory.mktemp('digits')
    make_digits(root, 'train', num_images=60)
    make_digits(root, 'val', num_images=30)
    return root


@pytest.fixture(scope='session', params=['train', 'val'])
def split(request):
    return request.param


@pytest.fixture(scope='session')
def content(root, split):
    return read(root / 'annotations' / f'{split}.json')


@pytest.fixture(scope='session')
def sources(split):
    return digit_sources.load_sources(split)
