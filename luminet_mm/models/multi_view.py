"""MultiViewClsDataPreprocessor: several views of each image as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.models import ClsDataPreprocessor
from torch import Tensor

from luminet_mm.registry import MODELS


@MODELS.register_module()
class MultiViewClsDataPreprocessor(ClsDataPreprocessor):
    """MMPretrain's preprocessor for images from its ``MultiView`` transform.

    From N images with V views each it makes an ordinary batch of V * N images:
    all first views, then all second ones, each with its image's label. So
    models and losses need not know about views, batch norm normalises over all
    of them, and cross entropy is their mean. A loss with ``views``
    (:class:`~luminet_mm.losses.MLLDLoss`) splits the batch again.

    Mixup and CutMix mix each view separately. Images with a single view, as in
    validation, are processed as in the stock class. All arguments are those of
    the stock class.

    Examples:
        In a config, where ``weak`` and ``strong`` are lists of transforms::

            data_preprocessor = dict(
                type='luminet_mm.MultiViewClsDataPreprocessor',
                mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                to_rgb=True)
            train_pipeline = [
                dict(type='LoadImageFromFile'),
                dict(type='MultiView', num_views=[1, 1],
                     transforms=[weak, strong]),
                dict(type='PackInputs')]
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise a batch.

        Args:
            data: ``inputs`` and ``data_samples`` from a data loader, with
                either collate function.
            training: Whether to mix images.

        Returns:
            ``inputs``, ``(V * N, 3, H, W)``, and V * N ``data_samples``.

        Raises:
            ValueError: The views differ in size.
        """
        views = data['inputs']
        if not _are_views(views):
            return super().forward(data, training)
        samples = data.get('data_samples')
        batches = [
            # A copy, since the stock class writes the labels into it.
            super(MultiViewClsDataPreprocessor, self).forward(
                dict(
                    inputs=view,
                    data_samples=samples and [each.new() for each in samples],
                ),
                training,
            )
            for view in views
        ]
        sizes = [tuple(batch['inputs'].shape[2:]) for batch in batches]
        if len(set(sizes)) > 1:
            raise ValueError(
                f'{type(self).__name__}: the views are images of '
                f'{", ".join(f"{h}x{w}" for h, w in sizes)} pixels, which '
                'cannot form a batch. Crop or resize all to one size in '
                'MultiView.'
            )
        return dict(
            inputs=torch.cat([batch['inputs'] for batch in batches]),
            data_samples=samples
            and [each for batch in batches for each in batch['data_samples']],
        )


def _are_views(inputs: Tensor | Sequence) -> bool:
    """Whether the inputs are a list of batches, not a single batch."""
    if torch.is_tensor(inputs):
        return False
    first = inputs[0]
    # default_collate stacks each view's images, pseudo_collate lists them
    return first.dim() == 4 if torch.is_tensor(first) else True
