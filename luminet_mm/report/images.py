"""Validation images of a run, and what models predict on them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, DefaultScope

from luminet_mm.files.plain_config import only_registered
from luminet_mm.report.models import import_own
from luminet_mm.report.runs import block


class ValImages:
    """The first images of a validation set.

    Args:
        settings: The run's config.
        count: How many at most.

    Attributes:
        total: Images in the whole set.
        count: Images that are used.
        classes: Their names.

    Raises:
        ValueError: If the config has no validation set.
    """

    def __init__(self, settings: dict, count: int) -> None:
        loader = block(settings, 'val_dataloader')
        if not block(loader, 'dataset'):
            raise ValueError('the config has no val_dataloader')
        import_own(settings)
        self.scope = settings.get('default_scope') or 'mmdet'
        # MMEngine's own type, so that nested blocks are read as ever
        config = ConfigDict(loader['dataset'])
        with (
            only_registered(),
            contextlib.redirect_stdout(io.StringIO()),  # pycocotools talks
            DefaultScope.overwrite_default_scope(self.scope),
        ):
            self.dataset = DATASETS.build(config)
        self.total = len(self.dataset)
        self.count = min(count, self.total)
        self.batch_size = max(1, int(loader.get('batch_size') or 1))
        meta = getattr(self.dataset, 'metainfo', None) or {}
        self.meta = dict(meta)
        self.classes = [str(name) for name in meta.get('classes') or ()]

    @property
    def whole(self) -> bool:
        """Whether these are all images of the set."""
        return self.count == self.total

    def predict(
        self, model: BaseModel, step: Callable[[int], None] | None = None
    ) -> list[Any]:
        """What a model predicts on each image, on the CPU.

        Args:
            model: A stock model.
            step: Called with the number of images that are done.
        """
        found: list[Any] = []
        with torch.no_grad():
            for start in range(0, self.count, self.batch_size):
                stop = min(start + self.batch_size, self.count)
                batch = pseudo_collate(
                    [self.dataset[index] for index in range(start, stop)]
                )
                found += [_light(each) for each in model.val_step(batch)]
                if step:
                    step(stop)
        return found

    def boxes(self, index: int) -> list[dict]:
        """The ground truth of an image, in its own coordinates."""
        return self.dataset.get_data_info(index).get('instances') or []

    def pixels(self, index: int) -> np.ndarray:
        """An image as RGB, ``(h, w, 3)`` uint8."""
        info = self.dataset.get_data_info(index)
        if isinstance(info.get('img_path'), str):
            return mmcv.imread(info['img_path'], channel_order='rgb')
        image = info.get('img')
        if image is None:  # made by the pipeline
            image = self.dataset[index]['inputs'].permute(1, 2, 0).numpy()
        image = np.asarray(image)
        if image.ndim == 2:
            image = image[..., None]
        if image.shape[2] == 1:
            image = image.repeat(3, axis=2)
        return np.clip(image, 0, 255).astype(np.uint8)

    def name(self, index: int) -> str:
        """A short name of an image."""
        path = self.dataset.get_data_info(index).get('img_path')
        if isinstance(path, str):
            return path.replace('\\', '/').rpartition('/')[2]
        return f'image {index}'


def _light(sample: Any) -> Any:
    """A prediction on the CPU, without masks, which would fill the memory."""
    for key in ('gt_instances', 'ignored_instances'):
        if key in sample:
            delattr(sample, key)
    instances = sample.get('pred_instances')
    if instances is not None and 'masks' in instances:
        del instances.masks
    return sample.cpu()
