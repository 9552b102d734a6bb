"""Banks of embeddings of all training images, for contrastive losses."""

from __future__ import annotations

import torch
from torch import Tensor

from luminet_mm.distributed import (
    all_gather_with_grad,
)
from luminet_mm.losses.base.tensors import unit


def draw_contrast(
    ids: Tensor,
    num_samples: int,
    num_negatives: int,
    labels: Tensor | None = None,
) -> Tensor:
    """Draw other images for each image, with replacement.

    Every draw is uniform over the allowed images. No draw has to be repeated
    and nothing waits for a GPU: images are sorted by label, and a draw skips
    the block of the anchor's label.

    Args:
        ids: ``(B,)`` int64 index of each anchor.
        num_samples: Number of images, at least 2.
        num_negatives: Images to draw for each anchor.
        labels: ``(num_samples,)`` int64 class of each image, -1 if unknown.
            Images with the anchor's label are not drawn, unless there are no
            others. None allows all images but the anchor.

    Returns:
        ``(B, 1 + num_negatives)`` int64; the first column is ``ids``.
    """
    # A range this large leaves the remainders uniform.
    draws = torch.randint(2**62, (len(ids), num_negatives), device=ids.device)
    if labels is None:
        start, size = ids, torch.ones_like(ids)
    else:
        blocks, images = labels.sort()
        own = labels[ids]
        start = torch.searchsorted(blocks, own)
        size = torch.searchsorted(blocks, own, right=True) - start
        size = size * (size < num_samples)
    draws = draws % (num_samples - size)[:, None]
    draws = draws + size[:, None] * (draws >= start[:, None])
    if labels is not None:
        draws = images[draws]
    return torch.cat([ids[:, None], draws], dim=1)


@torch.no_grad()
def update_bank(
    bank: Tensor, ids: Tensor, rows: Tensor, momentum: float
) -> None:
    """Move some rows of a bank, in place, towards new embeddings.

    ``M[i] = m * M[i] + (1 - m) * u``, normalised to length 1. If an image has
    several rows, the last one counts.

    Args:
        bank: ``(N, D)``.
        ids: ``(B,)`` int64 rows of the bank.
        rows: ``(B, D)`` embeddings.
        momentum: Share of the old row.
    """
    if not len(ids):
        return
    moved = unit(momentum * bank[ids].to(rows.dtype) + (1 - momentum) * rows)
    # Every copy of an image writes the same, so the order does not matter.
    order = torch.arange(1, len(ids) + 1, device=ids.device)
    last = ((ids[:, None] == ids) * order).argmax(dim=1)
    bank.index_copy_(0, ids, moved[last].to(bank.dtype))


def bank_products(rows: Tensor, bank: Tensor, contrast: Tensor) -> Tensor:
    """Each row's inner products ``(B, K + 1)`` with some rows of the bank."""
    bank = bank.detach().to(rows.dtype)
    whole = bank.numel() + len(rows) * len(bank)
    if whole < contrast.numel() * bank.shape[1]:
        # Products with the whole bank take less memory than the drawn rows.
        # Backward needs the bank's current values.
        return (rows @ bank.clone().T).gather(1, contrast)
    return torch.einsum('bd,bkd->bk', rows, bank[contrast])


def check_ids(
    name: str, ids: Tensor | None, rows: Tensor, num_samples: int
) -> Tensor:
    """The rows of a bank that belong to a batch's images.

    Args:
        name: Start of the error message.
        ids: ``(B,)`` index of each image in the training set.
        rows: ``(B, D)`` embeddings of the images.
        num_samples: Number of rows of the bank.

    Returns:
        ``(B,)`` int64, on the embeddings' device.

    Raises:
        ValueError: They are missing, there is not one for each image, or one
            is not a row of the bank.
    """
    if ids is None:
        raise ValueError(
            f'{name}: it needs batch.sample_ids, the index of each image in '
            'the training set, and the data samples have none. Keep '
            "'sample_idx' in the meta_keys of the pipeline's PackInputs."
        )
    if ids.shape != rows.shape[:1] or ids.is_floating_point():
        raise ValueError(
            f'{name}: batch.sample_ids has shape {tuple(ids.shape)} and type '
            f'{ids.dtype}; {len(rows)} rows need one integer each. Name a '
            'signal with one row for each image.'
        )
    # On CUDA the lookup asserts; reading ids would stall the GPU.
    if ids.device.type == 'cpu' and len(ids):
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= num_samples:
            raise ValueError(
                f'{name}: batch.sample_ids run from {low} to {high}, but '
                f'num_samples is {num_samples}. Set it to the number of '
                'images in the training set.'
            )
    return ids.to(rows.device, torch.int64, non_blocking=True)


def check_labels(name: str, labels: Tensor, ids: Tensor, why: str) -> Tensor:
    """The classes of a batch's images.

    Args:
        name: Start of the error message.
        labels: ``(B,)`` class of each image.
        ids: ``(B,)`` rows of the bank.
        why: What needs them, for the error message.

    Returns:
        ``(B,)`` int64, on the device of ``ids``.

    Raises:
        ValueError: There is not one integer for each image.
    """
    if labels.shape != ids.shape or labels.is_floating_point():
        raise ValueError(
            f'{name}: {why} needs an integer label for each of {len(ids)} '
            f'images; batch.labels has shape {tuple(labels.shape)} and type '
            f'{labels.dtype}.'
        )
    return labels.to(ids.device, torch.int64, non_blocking=True)


def log_mean_exp(scores: Tensor, sync: bool) -> Tensor:
    """Over all dimensions but the first and all ranks; NaN without rows."""
    count = scores.new_full((1,), scores[0].numel())
    sums = torch.cat([scores.flatten(1).logsumexp(dim=1), count.log()])
    ranks = all_gather_with_grad(sums) if sync else sums[None]
    sums = ranks.logsumexp(dim=0)
    return sums[:-1] - sums[-1]
