"""Data sets that need no download."""

from .digit_files import fingerprint, make_digits
from .digits import DigitsDataset

__all__ = ['DigitsDataset', 'fingerprint', 'make_digits']
