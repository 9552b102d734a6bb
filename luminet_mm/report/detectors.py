"""What detectors answered: AP by class, and pictures with their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.structures import InstanceData

from luminet_mm.report.boxes import BoxScores, score_boxes
from luminet_mm.report.images import ValImages
from luminet_mm.report.metrics import percent
from luminet_mm.report.models import Model
from luminet_mm.report.pictures import Case, Painter, Tile
from luminet_mm.report.tables import Table


class Boxes:
    """Detectors.

    Args:
        models: The models.
        data: The images.
        outputs: For each model its predictions, image by image.
    """

    measure = 'AP'

    def __init__(
        self,
        models: Sequence[Model],
        data: ValImages,
        outputs: Sequence[Sequence[Any]],
    ) -> None:
        self.models, self.data = models, data
        self.truth = [data.boxes(i) for i in range(data.count)]
        self.found = [[x.pred_instances for x in each] for each in outputs]
        classes = len(data.classes)
        self.scores: list[BoxScores] = [
            score_boxes(self.truth, each, classes) for each in self.found
        ]
        self.painter = Painter(data.meta)
        levels = ', '.join(
            f'{score.threshold:.2f} for {model.title}'
            for model, score in zip(models, self.scores)
        )
        self.about = (
            'An image is scored by F1 at an IoU of 0.5: twice the found '
            'boxes, divided by twice the found and the missed and the false '
            'ones. Boxes are shown and counted from the score on at which '
            f'F1 over these images is highest: {levels}.'
        )

    def by_class(self) -> Table:
        """AP of each class."""
        rows = [
            [title, *(percent(s.metrics[name]) for s in self.scores)]
            for title, name in (
                ('all classes', 'coco/bbox_mAP'),
                ('all, AP50', 'coco/bbox_mAP_50'),
            )
        ]
        for k, name in enumerate(self.data.classes):
            rows.append([name, *(percent(s.by_class[k]) for s in self.scores)])
        head = ['class', *(model.title for model in self.models)]
        return Table('by-class', head, rows, strong=[0])

    def confused(self) -> None:
        """Detectors have no table of confused classes."""

    def metrics(self, scores: BoxScores) -> dict[str, float]:
        """Under the names of the log."""
        return {k: round(value, 3) for k, value in scores.metrics.items()}

    def change(self, student: int, best: int) -> np.ndarray:
        """By how much F1 of each image is higher."""
        return self.scores[best].f1() - self.scores[student].f1()

    def case(self, index: int, change: float) -> Case:
        """An image with everybody's boxes."""
        image = self.data.pixels(index)
        truth = InstanceData(
            bboxes=np.array(
                [each['bbox'] for each in self.truth[index]], float
            ).reshape(-1, 4),
            labels=np.array(
                [each['bbox_label'] for each in self.truth[index]], int
            ),
        )
        tiles = [Tile(self.painter.draw(image, truth, 0), 'ground truth')]
        for model, found, score in zip(self.models, self.found, self.scores):
            hit, missed, false = score.counts[index]
            tiles.append(
                Tile(
                    self.painter.draw(image, found[index], score.threshold),
                    model.title,
                    [f'{hit} found, {missed} missed, {false} false'],
                )
            )
        name = self.data.name(index)
        return Case(tiles, f'{name}: F1 {change:+.2f}')
