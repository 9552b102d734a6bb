"""ReplayDataset and ReplaySampler: augmented views that repeat.

A view is one augmentation of one image. Its random numbers depend only on the
seed, the round and the image, so it is the same in every run, whatever the
order and the process. A teacher's output for it can therefore be cached.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from torch.utils.data import Dataset

from luminet_mm.registry import DATA_SAMPLERS, DATASETS
from luminet_mm.rng import kept_rng


def seed_view(seed: int, turn: int, index: int) -> None:
    """Seed Python, NumPy and torch's CPU for one view.

    Args:
        seed: The seed of all views.
        turn: The round.
        index: The image's index.
    """
    # takes microseconds; NumPy's SeedSequence takes ten times as long
    digest = hashlib.sha256(f'{seed} {turn} {index}'.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], 'little') for i in (0, 4, 8)]
    random.seed(words[0])
    np.random.seed(words[1])
    # torch.manual_seed would also seed the GPUs
    torch.default_generator.manual_seed(words[2])


@DATASETS.register_module()
class ReplayDataset(Dataset):
    """Give each image a fixed number of augmented views, equal in all runs.

    Item ``round * images + index`` is one augmentation of image ``index``. The
    length is the number of images: an epoch of :class:`ReplaySampler` has one
    view of each. The item's number is stored as ``view`` in the metadata of
    its data sample.

    Args:
        dataset: Config of the data set to wrap, with its pipeline.
        rounds: Number of views of each image. Epoch ``e`` uses those of
            round ``e % rounds``.
        seed: Seed of the random numbers of all views. Defaults to 0.

    Raises:
        TypeError: If ``dataset`` is not a config.
        ValueError: If ``rounds`` or ``seed`` is out of range.

    Examples:
        In a config::

            train_dataloader = dict(
                dataset=dict(
                    type='luminet_mm.ReplayDataset', rounds=30,
                    dataset=dict(type='CIFAR100', ...)),
                sampler=dict(type='luminet_mm.ReplaySampler'))
    """

    def __init__(self, dataset: dict, rounds: int, seed: int = 0) -> None:
        if not isinstance(dataset, dict):
            raise TypeError(
                'ReplayDataset.dataset: give the config of a data set, '
                f'not a {type(dataset).__name__}; a logit cache is '
                'compared with the pipeline in it.'
            )
        for name, value, least in (('rounds', rounds, 1), ('seed', seed, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f'ReplayDataset.{name}: {value!r}; set an integer >= '
                    f'{least}.'
                )
        self.config = copy.deepcopy(dataset)
        self.rounds = rounds
        self.seed = seed
        self.dataset = MMENGINE_DATASETS.build(dataset)

    @property
    def metainfo(self) -> dict:
        """The metainfo of the wrapped data set."""
        return copy.deepcopy(self.dataset.metainfo)

    def full_init(self) -> None:
        """Read the annotations, if that was postponed."""
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()

    def get_data_info(self, index: int) -> dict:
        """An image's annotations.

        Args:
            index: Index of the image, or of any of its views.
        """
        return self.dataset.get_data_info(index % len(self))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, view: int) -> dict[str, Any]:
        return self.__getitems__([view])[0]

    def __getitems__(self, views: Sequence[int]) -> list[dict[str, Any]]:
        """Several views: torch's data loader asks for a batch at once.

        Saving and restoring the random states only once per batch keeps this
        as fast as the plain data set.

        Raises:
            IndexError: If a view does not exist.
        """
        with kept_rng():
            return [self._view(int(view)) for view in views]

    def _view(self, view: int) -> dict[str, Any]:
        turn, index = divmod(view, len(self.dataset))
        if not 0 <= turn < self.rounds:
            raise IndexError(
                f'view {view}: there are {self.rounds} of each of '
                f'{len(self.dataset)} images.'
            )
        seed_view(self.seed, turn, index)
        item = self.dataset[index]
        # here, so that pipelines need not list it in their meta_keys
        item['data_samples'].set_metainfo(dict(view=view))
        return item


@DATA_SAMPLERS.register_module()
class ReplaySampler(DefaultSampler):
    """MMEngine's sampler, with one round of a :class:`ReplayDataset` an epoch.

    Epoch ``e`` uses round ``e % rounds``, so a resumed run continues with the
    next views. The round is encoded in the indices, since persistent workers
    never learn the epoch.

    Args:
        dataset: The data set.
        **kwargs: As for MMEngine's ``DefaultSampler``: ``shuffle``, ``seed``
            of the order, ``round_up``.

    Raises:
        TypeError: If the data set is not a :class:`ReplayDataset`.
    """

    def __init__(self, dataset: ReplayDataset, **kwargs: Any) -> None:
        if not isinstance(dataset, ReplayDataset):
            raise TypeError(
                'ReplaySampler: the data set is a '
                f'{type(dataset).__name__}. Set train_dataloader.dataset='
                "dict(type='luminet_mm.ReplayDataset', rounds=..., "
                'dataset=<the data set>), as the outermost wrapper and '
                'without num_batch_per_epoch.'
            )
        super().__init__(dataset, **kwargs)
        self.rounds = dataset.rounds

    def __iter__(self) -> Iterator[int]:
        first = self.epoch % self.rounds * len(self.dataset)
        return (first + index for index in super().__iter__())
