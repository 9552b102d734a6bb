"""One process writes a cache; all learn what is missing, or why it fails."""

import json
import logging

import pytest
from rounds import IMAGES, header, logits

from luminet_mm.launch.shared_writer import shared_writer
from luminet_mm.teachers.cache_files import CacheError

LOGGER = logging.getLogger(__name__)


def broken():
    raise ValueError('no such teacher')


def on_rank(rank, world_size):
    """What each process is told of a cache that the first cannot open."""
    try:
        with shared_writer(LOGGER, 'nowhere', broken):
            return 'opened'
    except CacheError as error:
        return str(error)


@pytest.mark.two_ranks(run=on_rank)
def test_a_fault_of_the_first_process_ends_all(two_ranks):
    assert two_ranks == ['no such teacher'] * 2


def write(shared, number):
    shared.writer.open(number)[:] = logits(number)
    shared.writer.close(number)


def test_it_goes_on_until_all_is_there(tmp_path, caplog):
    with shared_writer(LOGGER, tmp_path, header) as shared:
        assert shared.missing == [0, 1]
        write(shared, 0)
    with shared_writer(LOGGER, tmp_path, header) as shared:
        assert shared.missing == [1]
        write(shared, 1)
        shared.finish(LOGGER, right=IMAGES // 2, seen=IMAGES)
    text = (tmp_path / 'cache.json').read_text()
    assert json.loads(text)['top1'] == 50
    file = tmp_path / 'round_000.npy'
    file.write_bytes(file.read_bytes()[:-1] + b'x')
    with caplog.at_level('WARNING'):
        with shared_writer(LOGGER, tmp_path, header) as shared:
            assert shared.missing == [0]
    assert 'damaged files: [0]' in caplog.text


def test_what_is_refused_is_not_begun(tmp_path):
    def check(missing):
        raise CacheError(f'{missing} cannot be had')

    with pytest.raises(CacheError, match=r'\[0, 1\] cannot be had'):
        with shared_writer(LOGGER, tmp_path, header, check):
            pytest.fail('it was opened')
    assert not list(tmp_path.glob('*.json'))
