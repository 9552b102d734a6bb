"""Banks of all images' embeddings: draws, updates, products, indices."""

import pytest
import torch
from torch.nn import functional as F

from luminet_mm.losses.base.memory_bank import (
    bank_products,
    check_ids,
    draw_contrast,
    update_bank,
)

N, K = 30, 7


def unit_rows(n, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return F.normalize(rows)


def test_any_other_image_is_drawn_equally_often():
    ids = torch.tensor([0, 4, 9])
    drawn = draw_contrast(ids, 10, 90_000)
    assert torch.equal(drawn[:, 0], ids)
    for i, row in zip(ids, drawn[:, 1:], strict=True):
        counts = row.bincount(minlength=10)
        assert counts[i] == 0
        others = counts[torch.arange(10) != i].double()
        assert (others / 10_000 - 1).abs().max() < 0.05


def test_images_of_other_or_unknown_classes_are_drawn():
    labels = torch.tensor([2, 0, 1, 2, -1, 0, 2, -1])
    ids = torch.tensor([0, 5, 2])
    drawn = draw_contrast(ids, 8, 60_000, labels)
    assert torch.equal(drawn[:, 0], ids)
    for i, row in zip(ids, drawn[:, 1:], strict=True):
        counts = row.bincount(minlength=8)
        same = labels == labels[i]
        assert not counts[same].any()
        share = counts[~same].double() * (~same).sum() / 60_000
        assert (share - 1).abs().max() < 0.05


def test_where_all_are_of_one_class_any_image_is_drawn():
    drawn = draw_contrast(torch.tensor([1]), 3, 100, torch.zeros(3).long())
    assert set(drawn.flatten().tolist()) == {0, 1, 2}


def test_no_anchors_draw_nothing():
    for labels in (None, torch.zeros(N).long()):
        ids = torch.empty(0, dtype=torch.int64)
        assert draw_contrast(ids, N, K, labels).shape == (0, 1 + K)


def test_of_several_rows_of_one_image_the_last_counts():
    bank, new = unit_rows(N), unit_rows(5, seed=1)
    ids = torch.tensor([7, 2, 7, 0, 7])
    expected = bank.clone()
    for i, row in zip(ids[[1, 3, 4]], new[[1, 3, 4]], strict=True):
        mixed = 0.25 * bank[i] + 0.75 * row
        expected[i] = mixed / mixed.norm()
    update_bank(bank, ids, new, 0.25)
    torch.testing.assert_close(bank, expected)


@pytest.mark.parametrize('images', [10, 2000], ids=['all', 'drawn'])
def test_products_are_with_the_bank_as_it_was(images):
    """Small banks are multiplied as a whole, of large ones rows are taken."""
    rows, bank = unit_rows(6).requires_grad_(), unit_rows(images, seed=1)
    contrast = torch.randint(10, (6, 1 + K))
    products = bank_products(rows, bank, contrast)
    expected = (rows[:, None] * bank[contrast]).sum(dim=2)
    torch.testing.assert_close(products, expected)
    (wanted,) = torch.autograd.grad(expected.sum(), rows)
    bank.zero_()  # as the update does before backward
    (grad,) = torch.autograd.grad(products.sum(), rows)
    torch.testing.assert_close(grad, wanted)


def test_indices_become_whole_numbers_of_64_bits():
    ids = torch.tensor([3, 0, 29], dtype=torch.int32)
    checked = check_ids('x', ids, unit_rows(3), N)
    assert checked.dtype == torch.int64 and checked.tolist() == [3, 0, 29]


@pytest.mark.parametrize(
    ('ids', 'message'),
    [
        (None, 'it needs batch.sample_ids'),
        (torch.arange(2), r'shape \(2,\) .* 3 rows'),
        (torch.rand(3), 'type torch.float32'),
        (torch.tensor([0, 1, N]), 'from 0 to 30, but num_samples is 30'),
        (torch.tensor([0, 1, -1]), 'from -1 to 1'),
    ],
)
def test_indices_without_a_row_of_their_own_are_named(ids, message):
    with pytest.raises(ValueError, match=f'loss_x: .*{message}'):
        check_ids('loss_x', ids, unit_rows(3), N)
