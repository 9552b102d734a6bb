"""Single digits cut out of the scenes, to pretrain a backbone on."""

from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import load as load_file
from mmpretrain.datasets import BaseDataset

from luminet_mm.datasets.digits.files import CLASSES, make_digits
from luminet_mm.registry import DATASETS, TRANSFORMS


@DATASETS.register_module()
class DigitCropsDataset(BaseDataset):
    """One item per digit of :class:`DigitsDataset`'s scenes.

    A detector's backbone is usually pretrained on ImageNet. If nothing can be
    downloaded, pretrain it to classify these crops instead.

    Args:
        split: ``'train'`` or ``'val'``. Defaults to ``'train'``.
        data_root: Folder of the scenes. Defaults to
            ``'data/digit_crops/'``.
        num_images: Number of scenes to cut from. Defaults to 4000.
        seed: Seed of the scenes; a seed other than the detector's gives
            other scenes of the same digits. Defaults to 1.
        **kwargs: Arguments of :class:`mmpretrain.datasets.BaseDataset`.
    """

    METAINFO = {'classes': CLASSES}

    def __init__(
        self,
        split: str = 'train',
        data_root: str = 'data/digit_crops/',
        num_images: int = 4000,
        seed: int = 1,
        **kwargs: Any,
    ) -> None:
        ann_file = make_digits(
            data_root, split, num_images=num_images, seed=seed
        )
        super().__init__(ann_file=str(ann_file), **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the digits: path, box ``[x1, y1, x2, y2]`` and class."""
        content = load_file(self.ann_file)
        root = Path(self.ann_file).parent.parent
        paths = {
            image['id']: str(root / image['file_name'])
            for image in content['images']
        }
        classes = {
            category['id']: CLASSES.index(category['name'])
            for category in content['categories']
        }
        items = []
        for annotation in content['annotations']:
            x, y, width, height = annotation['bbox']
            items.append(
                dict(
                    img_path=paths[annotation['image_id']],
                    box=[x, y, x + width, y + height],
                    gt_label=classes[annotation['category_id']],
                )
            )
        return items


@TRANSFORMS.register_module()
class CropAroundBox(BaseTransform):
    """Cut a square around ``box`` and resize it.

    Args:
        size: Height and width of the result.
        margin: The square's side is the box's longer
            side times a number drawn from this range.
        shift: The centre moves by up to this fraction of the side.
    """

    def __init__(
        self,
        size: int = 48,
        margin: tuple[float, float] = (1.0, 2.0),
        shift: float = 0.15,
    ) -> None:
        self.size = size
        self.margin = margin
        self.shift = shift

    def transform(self, results: dict) -> dict:
        """Replace ``img`` with the crop."""
        x1, y1, x2, y2 = results['box']
        side = max(x2 - x1, y2 - y1) * np.random.uniform(*self.margin)
        shift = np.random.uniform(-self.shift, self.shift, 2) * side
        centre = np.array([x1 + x2, y1 + y2]) / 2 + shift
        corners = np.concatenate([centre - side / 2, centre + side / 2])
        height, width = results['img'].shape[:2]
        corners = corners.clip(0, [width - 1, height - 1] * 2)
        crop = mmcv.imcrop(results['img'], corners)
        results['img'] = mmcv.imresize(crop, (self.size, self.size))
        results['img_shape'] = (self.size, self.size)
        return results
