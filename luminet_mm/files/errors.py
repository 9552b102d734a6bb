"""What is raised for a checkpoint that cannot be used."""


class CheckpointError(ValueError):
    """A checkpoint is broken, not a checkpoint, or does not fit."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint asks for something that weights do not need."""
