"""Data sets that need no download, and image transforms."""

from luminet_mm.datasets.cifar_augment import CIFARAutoAugment
from luminet_mm.datasets.digits.crops import CropAroundBox, DigitCropsDataset
from luminet_mm.datasets.digits.dataset import DigitsDataset
from luminet_mm.datasets.digits.files import fingerprint, make_digits
from luminet_mm.datasets.handwritten import HandwrittenDigits
from luminet_mm.datasets.replay import ReplayDataset, ReplaySampler

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
