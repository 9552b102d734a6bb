"""The digits as a data set for configs, drawn when it is first built."""

from typing import Any

from mmdet.datasets import CocoDataset

from luminet_mm.datasets.digits.files import CLASSES, make_digits
from luminet_mm.registry import DATASETS


@DATASETS.register_module()
class DigitsDataset(CocoDataset):
    """Handwritten digits in photographs, drawn on first use.

    Needs no download: the pixels come from scikit-learn and scikit-image. The
    same arguments give the same pixels on every machine. Train and val share
    no digits and no photographs.

    .. code-block:: python

        dataset=dict(
            type='luminet_mm.DigitsDataset', split='train', pipeline=[...])
        val_evaluator = dict(
            type='FasterCocoMetric',
            ann_file='data/digits/annotations/val.json')

    Two data sets of the same split with different ``num_images``,
    ``image_size`` or ``seed`` may share a ``data_root``;
    ``annotations/<split>.json`` then belongs to the one built last. If an
    evaluator reads that file, give each data set its own ``data_root``.

    Args:
        split: ``'train'`` or ``'val'``. Defaults to ``'train'``.
        data_root: Folder for the data. Defaults to ``'data/digits/'``.
        num_images: Defaults to 1200 for train, 300 for val.
        image_size: Height and width of each image. Defaults to 160.
        seed: Seed of the data, independent of the training's. Defaults
            to 0.
        **kwargs: Arguments of :class:`mmdet.datasets.CocoDataset`, mainly
            ``pipeline``, but neither ``ann_file`` nor ``data_prefix``.

    Raises:
        TypeError: ``ann_file`` or ``data_prefix`` is given.
    """

    METAINFO = {
        'classes': CLASSES,
        'palette': [
            (230, 25, 75),
            (60, 180, 75),
            (255, 225, 25),
            (0, 130, 200),
            (245, 130, 48),
            (145, 30, 180),
            (70, 240, 240),
            (240, 50, 230),
            (210, 245, 60),
            (250, 190, 212),
        ],
    }

    def __init__(
        self,
        split: str = 'train',
        data_root: str = 'data/digits/',
        num_images: int | None = None,
        image_size: int = 160,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        for key in ('ann_file', 'data_prefix'):
            if key in kwargs:
                raise TypeError(
                    f'DigitsDataset makes its own files: drop {key}='
                    f'{kwargs[key]!r} (_delete_=True in a config that '
                    'inherits it) and set split and data_root instead.'
                )
        ann_file = make_digits(
            data_root,
            split,
            num_images=num_images,
            image_size=image_size,
            seed=seed,
        )
        self.split = split
        super().__init__(
            ann_file=f'{ann_file.parent.name}/{ann_file.name}',
            data_root=data_root,
            data_prefix=dict(img=''),
            **kwargs,
        )
