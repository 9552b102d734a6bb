"""Data sets that need no download, and what transforms their images."""

from .cifar_augment import CIFARAutoAugment
from .digit_crops import CropAroundBox, DigitCropsDataset
from .digit_files import fingerprint, make_digits
from .digits import DigitsDataset
from .handwritten import HandwrittenDigits
from .replay import ReplayDataset, ReplaySampler

__all__ = [
    'CIFARAutoAugment',
    'CropAroundBox',
    'DigitCropsDataset',
    'DigitsDataset',
    'HandwrittenDigits',
    'ReplayDataset',
    'ReplaySampler',
    'fingerprint',
    'make_digits',
]
