"""Scores of classifications: top-1, top-5, by class, the most confused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class LabelScores:
    """How good a classifier's answers are.

    Attributes:
        labels: The true class of each image, ``(N,)``.
        probabilities: ``(N, C)``.
    """

    labels: Tensor
    probabilities: Tensor

    @property
    def answers(self) -> Tensor:
        """The class that it names, ``(N,)``."""
        return self.probabilities.argmax(dim=1)

    @property
    def right(self) -> Tensor:
        """Whether it is the true one, ``(N,)``."""
        return self.answers == self.labels

    def top(self, k: int) -> float:
        """Share of images whose class is among the first k, in percent."""
        k = min(k, self.probabilities.shape[1])
        first = self.probabilities.topk(k, dim=1).indices
        return 100 * float(
            (first == self.labels[:, None]).any(1).double().mean()
        )

    def of_truth(self) -> Tensor:
        """The probability of the true class, ``(N,)``."""
        return self.probabilities.gather(1, self.labels[:, None])[:, 0]

    def by_class(self) -> list[float]:
        """Share of a class's images that it names, in percent, or NaN."""
        return [
            100 * float(self.right[self.labels == k].double().mean())
            for k in range(self.probabilities.shape[1])
        ]

    def confused(self) -> Counter:
        """How often a class was taken for another: ``(true, named)``."""
        wrong = ~self.right
        pairs = zip(self.labels[wrong].tolist(), self.answers[wrong].tolist())
        return Counter(pairs)


def score_labels(samples: Sequence[Any]) -> LabelScores:
    """Read the predictions of a classifier.

    Args:
        samples: MMPretrain's data samples, with ``gt_label`` and
            ``pred_score``.

    Raises:
        ValueError: If images have several labels, or none.
    """
    if not samples or any(
        'gt_label' not in each or each.gt_label.numel() != 1
        for each in samples
    ):
        raise ValueError('the images do not have one label each')
    return LabelScores(
        torch.cat([each.gt_label.reshape(1) for each in samples]).long(),
        torch.stack([each.pred_score for each in samples]).float(),
    )
