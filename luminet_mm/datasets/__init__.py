"""Data sets that need no download."""

from .digit_crops import CropAroundBox, DigitCropsDataset
from .digit_files import fingerprint, make_digits
from .digits import DigitsDataset

__all__ = [
    'CropAroundBox',
    'DigitCropsDataset',
    'DigitsDataset',
    'fingerprint',
    'make_digits',
]
