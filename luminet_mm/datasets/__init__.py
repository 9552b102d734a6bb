"""Data sets that need no download, and image transforms."""

from luminet_mm.datasets.cifar_augment import CIFARAutoAugment
from luminet_mm.datasets.digits.crops import CropAroundBox, DigitCropsDataset
from luminet_mm.datasets.digits.files import fingerprint, make_digits
from luminet_mm.datasets.handwritten import HandwrittenDigits
from luminet_mm.datasets.replay import ReplayDataset, ReplaySampler
from luminet_mm.later import later_names

# Not imported here: a classifier's run needs none of MMDetection's data sets,
# which take seconds.
__getattr__ = later_names(
    __name__, DigitsDataset='luminet_mm.datasets.digits.dataset'
)

__all__ = [
    'CIFARAutoAugment',
    'CropAroundBox',
    'DigitCropsDataset',
    'HandwrittenDigits',
    'ReplayDataset',
    'ReplaySampler',
    'fingerprint',
    'make_digits',
]
