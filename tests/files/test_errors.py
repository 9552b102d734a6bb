"""Errors of files: which of them a caller catches with which name."""

import pytest

from luminet_mm.files.errors import (
    CheckpointError,
    DataFileError,
    FileError,
    UnsafeCheckpointError,
)
from luminet_mm.loading import checkpoint


@pytest.mark.parametrize(
    'error, caught_as',
    [
        (UnsafeCheckpointError, CheckpointError),
        (CheckpointError, FileError),
        (DataFileError, FileError),
        (FileError, ValueError),
    ],
)
def test_what_catches_what(error, caught_as):
    with pytest.raises(caught_as, match='it is broken'):
        raise error('it is broken')


def test_a_broken_file_of_data_is_not_a_checkpoint():
    assert not issubclass(DataFileError, CheckpointError)


def test_who_loads_checkpoints_finds_the_errors_there():
    assert checkpoint.CheckpointError is CheckpointError
    assert checkpoint.UnsafeCheckpointError is UnsafeCheckpointError
