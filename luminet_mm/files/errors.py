"""Errors for files that cannot be used."""


class FileError(ValueError):
    """A file is broken or of the wrong kind."""


class CheckpointError(FileError):
    """A checkpoint is broken, not a checkpoint, or does not fit."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint asks for something that weights do not need."""


class DataFileError(FileError):
    """A data file is broken, or asks for more than data."""


class SampleError(RuntimeError):
    """A data sample cannot be read or transformed."""
