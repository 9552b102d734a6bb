"""Statistics of two models' logits, accumulated row by row."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.analysis.rows import SIDES, AnalysisError, check_rows
from luminet_mm.losses.kd import kl_rows

BINS = 15


class PairStatistics:
    r"""Accumulate statistics over rows of two models' logits.

    A row is an image, or a detector's RoI. Rows are not stored, only sums of
    at most ``(2C, 2C)`` numbers in float64. Rows may come in chunks of any
    size, and from several processes (:meth:`merge`).

    With :math:`s_{ij}, t_{ij}` the logits of student and teacher for row
    :math:`i` and class :math:`j`:

    - *agreement*: share of rows with :math:`\arg\max_j s_{ij} =
      \arg\max_j t_{ij}`;
    - *KL*: mean over rows of :math:`\mathrm{KL}(\sigma(t_i)\,\|\,
      \sigma(s_i))`, temperature 1;
    - *similarity* of class :math:`j`: Pearson correlation of :math:`s_{ij}`
      and :math:`t_{ij}` over all rows. It ignores each class's scale and
      shift, as LumiNet does; 1 for identical models;
    - *logit gap* :math:`D_{kj} = |\bar s_{kj} - \bar t_{kj}|`, the bar being
      the mean over the rows of class :math:`k`. This is what
      github.com/megvii-research/mdistiller draws for DKD
      (``tools/visualizations/correlation.ipynb`` at e8c5bb3: without the
      diagonal, divided by 3). Figures 1 and 2 of LumiNet's supplement
      compare DKD and LumiNet, and do not say how they were drawn;
    - *correlation gap* :math:`|\rho^s_{kj} - \rho^t_{kj}|`, where
      :math:`\rho_{kj}` is one model's Pearson correlation of the logits of
      classes :math:`k` and :math:`j` over all rows (drawn for CRD,
      https://arxiv.org/abs/1910.10699);
    - *ECE*, the expected calibration error of Guo et al. (2017,
      https://arxiv.org/abs/1706.04599), Eq. 3, with 15 equal bins
      :math:`((m-1)/15, m/15]` of the top-1 probability:
      :math:`\sum_m \frac{|B_m|}{N} |\mathrm{acc}(B_m) - \mathrm{conf}(B_m)|`.

    The class of a row is its label. Without labels it is the teacher's top-1
    class, and accuracy and ECE are not available.

    Args:
        num_classes: Columns of the logits.

    Examples:
        >>> statistics = PairStatistics(2)
        >>> logits = torch.tensor([[2., 0.], [0., 1.], [3., 1.]])
        >>> statistics.update(logits, 2 * logits, torch.tensor([0, 1, 1]))
        >>> statistics.summary()['agreement']
        1.0
        >>> statistics.similarity().round(decimals=3)
        tensor([1., 1.], dtype=torch.float64)
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.labelled: bool | None = None

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64)

        self.mean = zeros(2 * num_classes)
        self.comoment = zeros(2 * num_classes, 2 * num_classes)
        # plain sums over rows: by class, and by bin of confidence
        self.sums = dict(
            rows=zeros(num_classes),
            logits=zeros(num_classes, 2 * num_classes),
            agree=zeros(num_classes),
            kl=zeros(num_classes),
            right=zeros(num_classes, 2),
            **{f'{side}_bins': zeros(BINS, 3) for side in SIDES},
        )

    @property
    def rows(self) -> int:
        """Number of rows so far."""
        return int(self.sums['rows'].sum())

    def update(
        self, student: Tensor, teacher: Tensor, labels: Tensor | None = None
    ) -> None:
        """Add rows.

        Args:
            student: Logits, ``(N, C)``.
            teacher: Logits of the same rows, ``(N, C)``.
            labels: ``(N,)`` int64.

        Raises:
            AnalysisError: If the logits differ in shape or hold NaN or inf,
                labels are out of range, or only some rows have labels.
        """
        check_rows(student, teacher, labels, self.num_classes)
        self._check_labelled(labels is not None)
        student, teacher = (x.cpu().double() for x in (student, teacher))
        if not len(student):
            return
        logits = torch.cat([student, teacher], dim=1)
        mean = logits.mean(dim=0)
        centred = logits - mean
        self._merge_moments(len(logits), mean, centred.T @ centred)

        by_side = torch.stack([student, teacher], dim=1)
        confidence, top = by_side.softmax(dim=2).max(dim=2)
        if labels is None:
            group, right = top[:, 1], torch.zeros_like(confidence)
        else:
            group = labels.cpu()
            right = (top == group[:, None]).double()
        one = torch.ones_like(confidence[:, 0])
        for name, values in dict(
            rows=one,
            logits=logits,
            agree=(top[:, 0] == top[:, 1]).double(),
            kl=kl_rows(student, teacher, 1.0),
            right=right,
        ).items():
            self.sums[name].index_add_(0, group, values)
        edges = torch.arange(1, BINS, dtype=torch.float64) / BINS
        for i, side in enumerate(SIDES):
            self.sums[f'{side}_bins'].index_add_(
                0,
                torch.bucketize(confidence[:, i].contiguous(), edges),
                torch.stack([one, confidence[:, i], right[:, i]], dim=1),
            )

    def merge(self, other: PairStatistics) -> None:
        """Add the rows of another object, as if :meth:`update` got them.

        Raises:
            AnalysisError: If the classes differ, or only one of the two has
                labels.
        """
        if self.num_classes != other.num_classes:
            raise AnalysisError(
                f'statistics of {self.num_classes} and of '
                f'{other.num_classes} classes cannot be merged.'
            )
        if other.labelled is not None:
            self._check_labelled(other.labelled)
        self._merge_moments(other.rows, other.mean, other.comoment)
        for name, values in other.sums.items():
            self.sums[name] += values

    def similarity(self) -> Tensor:
        """Correlation of the two models' logits per class, ``(C,)``.

        NaN if a model's logit is the same for all rows.
        """
        return self._correlation('student', 'teacher').diagonal()

    def logit_gap(self) -> Tensor:
        """Distance of the mean logits by class, ``(C, C)``; see above.

        NaN in the rows of classes that never occurred.
        """
        means = self.sums['logits'] / self.sums['rows'][:, None]
        student, teacher = means.chunk(2, dim=1)
        return (student - teacher).abs()

    def correlation_gap(self) -> Tensor:
        """Distance of the models' correlations, ``(C, C)``; see above."""
        return (
            self._correlation('student', 'student')
            - self._correlation('teacher', 'teacher')
        ).abs()

    def summary(self) -> dict:
        """All numbers, as plain values; None if one is undefined.

        Returns:
            ``rows``, ``labelled``; ``agreement``, ``kl`` and both
            accuracies as in :meth:`means`; ``similarity``, the mean over
            classes; ``logit_gap`` and ``correlation_gap``, each with ``mean``
            and ``max`` off the diagonal; ``student`` and ``teacher``, each
            with ``confidence`` (mean top-1 probability), ``ece`` and
            ``bins``; ``per_class``, lists in the order of the classes.

        Raises:
            AnalysisError: If there were no rows.
        """
        if not self.rows:
            raise AnalysisError(
                'there is nothing to compare: the data set gave no images, or '
                'the student gave no RoIs. Check the data set and the RPN.'
            )
        similarity = self.similarity()
        sums, rows = self.sums, self.sums['rows']
        per_class = dict(
            rows=rows.long().tolist(),
            agreement=plain(sums['agree'] / rows),
            kl=plain(sums['kl'] / rows),
            similarity=plain(similarity),
        )
        if self.labelled:
            for i, side in enumerate(SIDES):
                per_class[f'{side}_accuracy'] = plain(
                    sums['right'][:, i] / rows
                )
        return dict(
            rows=self.rows,
            labelled=self.labelled,
            **self.means(),
            similarity=plain(similarity.nanmean()),
            logit_gap=_off_diagonal(self.logit_gap()),
            correlation_gap=_off_diagonal(self.correlation_gap()),
            **{side: self._calibration(side) for side in SIDES},
            per_class=per_class,
        )

    def means(self, classes: slice = slice(None)) -> dict:
        """Agreement, KL and accuracies over the rows of some classes."""
        sums = {
            name: self.sums[name][classes].sum(dim=0)
            for name in ('rows', 'agree', 'kl', 'right')
        }
        accuracy = sums['right'] / sums['rows']
        return dict(
            agreement=plain(sums['agree'] / sums['rows']),
            kl=plain(sums['kl'] / sums['rows']),
            **{
                f'{side}_accuracy': plain(value) if self.labelled else None
                for side, value in zip(SIDES, accuracy)
            },
        )

    def _calibration(self, side: str) -> dict:
        rows, confidence, right = self.sums[f'{side}_bins'].unbind(dim=1)
        gap = (right - confidence).abs().sum() / self.rows
        return dict(
            confidence=plain(confidence.sum() / self.rows),
            ece=plain(gap) if self.labelled else None,
            bins=dict(
                rows=rows.long().tolist(),
                confidence=plain(confidence / rows),
                accuracy=plain(right / rows) if self.labelled else None,
            ),
        )

    def _correlation(self, one: str, other: str) -> Tensor:
        parts = dict(
            student=slice(self.num_classes),
            teacher=slice(self.num_classes, None),
        )
        variance = self.comoment.diagonal()
        # A constant logit may get a tiny variance from rounding; ignore it.
        noise = 1e-24 * self.rows * self.mean.square()
        scale = torch.where(variance > noise, variance, torch.nan).sqrt()
        return (
            self.comoment[parts[one], parts[other]]
            / scale[parts[one], None]
            / scale[parts[other]]
        ).clamp(-1, 1)

    def _merge_moments(self, rows: int, mean: Tensor, comoment: Tensor):
        """Chan's formula: sums of squares would lose digits."""
        if not rows:
            return
        total = self.rows + rows
        step = mean - self.mean
        self.comoment += comoment
        self.comoment += torch.outer(step, step * (self.rows * rows / total))
        self.mean = self.mean + step * (rows / total)

    def _check_labelled(self, labelled: bool) -> None:
        if self.labelled not in (None, labelled):
            raise AnalysisError(
                'some rows have labels and some do not. Label all images '
                'of the data set, or none.'
            )
        self.labelled = labelled


def plain(values: Tensor) -> float | list | None:
    """Turn a tensor into numbers for JSON, and NaN into None."""
    if values.ndim:
        return [plain(value) for value in values]
    return None if values.isnan() else float(values)


def _off_diagonal(matrix: Tensor) -> dict:
    """Mean and maximum of a square matrix, without the diagonal and NaN."""
    mask = ~torch.eye(len(matrix), dtype=torch.bool) & ~matrix.isnan()
    values = matrix[mask]
    if not len(values):
        return dict(mean=None, max=None)
    return dict(mean=plain(values.mean()), max=plain(values.max()))
