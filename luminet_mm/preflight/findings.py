"""What a check of the data found: faults, warnings and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any


@dataclass
class Findings:
    """Lists of lines.

    Args:
        faults: What would fail later, or spoil the result.
        warnings: What MMDetection and MMPretrain ignore.
        notes: Useful facts, shown on request.
    """

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __iadd__(self, other: Findings) -> Findings:
        self.faults += other.faults
        self.warnings += other.warnings
        self.notes += other.notes
        return self

    def add(self, key: str, fails: bool, line: str) -> None:
        """Add a line about a key of the config."""
        (self.faults if fails else self.warnings).append(f'{key}: {line}')

    def attempt(
        self, key: str, check: Callable[..., Findings], *args: Any
    ) -> None:
        """Add what a check finds; a check that fails itself is a warning.

        Data of all kinds pass through here, and a check that does not know a
        kind must not keep anybody from training on it.
        """
        try:
            self += check(*args)
        except Exception as error:
            self.add(
                key,
                False,
                f'not checked, since {check.__name__.strip("_")} met '
                f'{type(error).__name__}: {error}',
            )


def such_as(examples: Iterable[str], count: int | None = None) -> str:
    """Name the first three, for the end of a sentence.

    Args:
        examples: All, or the first of them.
        count: How many there are; by default those given.
    """
    examples = list(examples)
    shown = ', '.join(islice(examples, 3))
    count = len(examples) if count is None else count
    return f'such as {shown}' if count > 3 else shown


def counted(count: int, what: str, plural: str = '') -> str:
    """A number and its noun: '1 box', '2 boxes'."""
    return f'{count} {what if count == 1 else plural or what + "s"}'
