"""What classifiers answered: by class, most confused, and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from luminet_mm.report.images import ValImages
from luminet_mm.report.labels import LabelScores, score_labels
from luminet_mm.report.metrics import percent
from luminet_mm.report.models import Model
from luminet_mm.report.pictures import Case, Tile, data_uri, resized
from luminet_mm.report.tables import Table

CONFUSED = 10  # pairs of classes in the table


class Labels:
    """Classifiers.

    Args:
        models: The models.
        data: The images.
        outputs: For each model its predictions, image by image.
    """

    measure = 'Share of images that are named rightly (recall), in percent,'
    about = (
        'An image gained if the student alone names another class and the '
        'distilled student the true one, and lost the other way round. Those '
        'come first whose true class changed most in probability; the change '
        'is below each.'
    )

    def __init__(
        self,
        models: Sequence[Model],
        data: ValImages,
        outputs: Sequence[Sequence[Any]],
    ) -> None:
        self.models, self.data = models, data
        self.scores: list[LabelScores] = [score_labels(o) for o in outputs]

    def _name(self, label: int) -> str:
        names = self.data.classes
        return names[label] if label < len(names) else str(label)

    def by_class(self) -> Table:
        """Accuracy on the images of each class."""
        rows = [['top-1', *(f'{s.top(1):.1f}' for s in self.scores)]]
        classes = self.scores[0].probabilities.shape[1]
        if classes > 5:
            rows.append(['top-5', *(f'{s.top(5):.1f}' for s in self.scores)])
        shares = [score.by_class() for score in self.scores]
        for k in range(classes):
            row = (percent(each[k] / 100) for each in shares)
            rows.append([self._name(k), *row])
        head = ['class', *(model.title for model in self.models)]
        return Table('by-class', head, rows, strong=[0])

    def confused(self) -> Table | None:
        """The pairs of classes that are confused most."""
        counts = [score.confused() for score in self.scores]
        pairs = sum(counts, Counter()).most_common(CONFUSED)
        rows = [
            [f'{self._name(true)} → {self._name(named)}']
            + [str(each[true, named]) for each in counts]
            for (true, named), _ in pairs
        ]
        if not rows:
            return None
        head = ['true → named', *(model.title for model in self.models)]
        return Table('confused', head, rows, 'Images, of the same set.')

    def metrics(self, scores: LabelScores) -> dict[str, float]:
        """Under the names of the log."""
        return {
            'accuracy/top1': scores.top(1),
            'accuracy/top5': scores.top(5),
        }

    def change(self, student: int, best: int) -> np.ndarray:
        """The change of the true class's probability, where it matters."""
        before, after = self.scores[student], self.scores[best]
        turned = before.right != after.right
        change = (after.of_truth() - before.of_truth()).abs() + 1e-6
        sign = after.right.float() - before.right.float()
        return (turned * sign * change).numpy()

    def case(self, index: int, change: float) -> Case:
        """An image with everybody's answer."""
        image, _ = resized(self.data.pixels(index))
        lines = []
        for model, score in zip(self.models, self.scores):
            named = int(score.answers[index])
            share = float(score.probabilities[index, named])
            lines.append(f'{model.title}: {self._name(named)} ({share:.2f})')
        label = self._name(int(self.scores[0].labels[index]))
        return Case(
            [Tile(data_uri(image), f'truth: {label}', lines)],
            f'{self.data.name(index)}, {change:+.2f}',
        )
