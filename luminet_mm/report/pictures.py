"""Pictures side by side: truth, student alone, distilled, teacher."""

from __future__ import annotations

import base64
import warnings
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

WIDTH = 400  # pixels of a picture on the page
FONT = 13


@dataclass
class Tile:
    """One picture.

    Attributes:
        source: The picture, as a ``data:`` URI.
        title: Whose answer it is.
        lines: The answer in words.
    """

    source: str
    title: str
    lines: list[str] = field(default_factory=list)


@dataclass
class Case:
    """An image with the answers of all models.

    Attributes:
        tiles: The truth first; one tile where the picture is the same for
            all.
        about: The image and what changed.
    """

    tiles: list[Tile]
    about: str


class _Readable(DetLocalVisualizer):
    """Names of classes at one size, since small boxes are shown small."""

    def draw_texts(self, *args: Any, **kwargs: Any) -> Any:
        return super().draw_texts(*args, **{**kwargs, 'font_sizes': FONT})


class Painter:
    """Draws boxes as MMDetection does.

    Args:
        meta: ``classes`` and ``palette`` of the data.
    """

    def __init__(self, meta: dict) -> None:
        self.visualizer = _Readable(line_width=2)
        self.visualizer.dataset_meta = meta

    def draw(self, image: np.ndarray, instances: Any, least: float) -> str:
        """An image with boxes on it, as a ``data:`` URI.

        Args:
            image: RGB, ``(h, w, 3)`` uint8.
            instances: ``bboxes`` and ``labels``, and ``scores`` if they are
                predictions.
            least: Boxes with a lower score are left out.
        """
        large, factor = resized(image)
        boxes = torch.as_tensor(np.asarray(instances.bboxes)).float()
        drawn = InstanceData(
            bboxes=boxes.reshape(-1, 4) * factor,
            labels=torch.as_tensor(np.asarray(instances.labels)).long(),
        )
        sample = DetDataSample()
        if 'scores' in instances:
            drawn.scores = torch.as_tensor(np.asarray(instances.scores))
            sample.pred_instances = drawn[drawn.scores >= least]
        else:
            sample.gt_instances = drawn
        with warnings.catch_warnings():
            # boxes may reach over the edge, by a pixel
            warnings.filterwarnings('ignore', '.*out of bounds')
            self.visualizer.add_datasample(
                'case',
                large,
                sample,
                draw_gt='gt_instances' in sample,
                draw_pred='pred_instances' in sample,
                pred_score_thr=-1,
            )
        return data_uri(self.visualizer.get_image())


def resized(image: np.ndarray) -> tuple[np.ndarray, float]:
    """An image at the size of the page, and by what it was scaled."""
    factor = WIDTH / image.shape[1]
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    size = WIDTH, max(1, round(image.shape[0] * factor))
    return cv2.resize(image, size, interpolation=kind), factor


def data_uri(image: np.ndarray) -> str:
    """An RGB image as a JPEG in a ``data:`` URI."""
    done, content = cv2.imencode(
        '.jpg',
        np.ascontiguousarray(image[..., ::-1]),
        [cv2.IMWRITE_JPEG_QUALITY, 85],
    )
    assert done
    text = base64.b64encode(content.tobytes()).decode()
    return f'data:image/jpeg;base64,{text}'


def order(change: np.ndarray, count: int) -> tuple[list[int], list[int]]:
    """The images that gained most, and those that lost most.

    Args:
        change: By how much each image gained.
        count: How many of both at most.

    Examples:
        >>> order(np.array([0.1, -0.5, 0.0, 0.7]), 2)
        ([3, 0], [1])
    """
    ranks = np.argsort(-change, kind='stable')
    gained = [int(i) for i in ranks[:count] if change[i] > 0]
    lost = [int(i) for i in ranks[::-1][:count] if change[i] < 0]
    return gained, lost
