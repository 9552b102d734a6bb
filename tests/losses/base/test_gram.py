"""Distances of Gram matrices, against matrices that are made."""

import pytest
import torch

from luminet_mm.losses.base.gram import column_gram_distance, row_gram_distance


def rows(n=6, c=5):
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(2, n, c, generator=generator, dtype=torch.float64)


def gram_distance(p_s, p_t):
    return (p_t @ p_t.T - p_s @ p_s.T).square().sum()


@pytest.mark.parametrize('n', [0, 1, 6])
def test_rows_and_columns_are_related_as_by_matrices(n):
    """With weights as if they were repetitions, and classes left out."""
    p_s, p_t = rows(n).softmax(-1)
    times = torch.tensor([2, 0, 1, 1, 3, 1])[:n]
    again = [p.repeat_interleave(times, dim=0) for p in (p_s, p_t)]
    torch.testing.assert_close(
        row_gram_distance(p_s, p_t, times.double()),
        gram_distance(*again) / max(len(again[0]), 1),
    )
    kept = torch.tensor([1.0, 0, 1, 1, 0], dtype=torch.float64)
    torch.testing.assert_close(
        column_gram_distance(p_s, p_t, times.double(), kept),
        gram_distance(*(p[:, kept > 0].T for p in again)) / 3,
    )


def test_nearly_equal_models_keep_their_digits_in_float32():
    """A difference of Gram matrices is rounding noise there.

    The terms are computed from the probabilities as they are: what a float32
    softmax rounds before is of the size of the models' difference.
    """
    student, teacher = rows(64, 10)
    probs = (teacher + 1e-6 * student, teacher)
    p_s, p_t = ((z / 2).softmax(1).float() for z in probs)
    ones = torch.ones(64), torch.ones(10)
    for term, of_grams, weights in (
        (row_gram_distance, gram_distance(p_s, p_t) / 64, ones[:1]),
        (column_gram_distance, gram_distance(p_s.T, p_t.T) / 10, ones),
    ):
        exact = term(*(x.double() for x in (p_s, p_t, *weights)))
        torch.testing.assert_close(  # 2e-7 was seen
            term(p_s, p_t, *weights).double(), exact, rtol=1e-5, atol=0
        )
        assert abs(of_grams.double() / exact - 1) > 1e-3  # 0.02 and 0.2
