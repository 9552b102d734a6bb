"""FrozenTeacher: a trained model that is used, never trained or saved."""
from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from luminet_mm.checkpoint import load_checkpoint


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Leave the random state of Python, NumPy and torch as it was.

    A distilled run then draws the same numbers as a stock run.
    """
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count()))
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class FrozenTeacher:
    """A teacher beside the student, outside of everything that trains.

    It is no ``nn.Module``, so it is not in the student's ``parameters()``,
    ``state_dict()``, DDP buckets or optimizer, ``init_weights()`` and
    ``train()`` never reach it, and a deep copy of the student (EMA) shares it.
    The holder passes device and dtype changes on through :meth:`apply`.

    Args:
        config (str | dict): Path of a config, ``'mmdet::...'`` or
            ``'mmpretrain::...'``, a whole config or only its ``model`` block.
        checkpoint (str | None): Path or URL of its weights. None keeps the
            random weights and says so in the log: for tests and benchmarks.
        default_scope (str): Where the config's types are looked up when the
            config itself does not say.

    Raises:
        FileNotFoundError: If config or checkpoint do not exist.
        ValueError: If the checkpoint does not fit the model, or holds more
            than plain data.
    """

    def __init__(self,
                 config: str | dict,
                 checkpoint: str | None,
                 default_scope: str = 'mmdet') -> None:
        cfg = _load_config(config)
        scope = cfg.get('default_scope', default_scope)
        with preserved_rng(), DefaultScope.overwrite_default_scope(scope):
            self.model: nn.Module = MODELS.build(cfg.model)
        self.name = cfg.model.type
        self.classes = _classes_of_config(cfg)
        self._same_inputs: bool | None = None
        if checkpoint is None:
            print_log(
                'teacher.checkpoint is None: the teacher has random weights '
                'and teaches noise. Right for a benchmark, wrong for a run.',
                'current', 30)
        else:
            self._load(checkpoint)
        self.model.eval().requires_grad_(False)

    def _load(self, path: str) -> None:
        checkpoint = load_checkpoint(path)
        state = checkpoint.get('state_dict', checkpoint)
        state = {
            key.removeprefix('module.'): value
            for key, value in state.items()
            # what a distilled teacher was itself trained with
            if not key.startswith('distill.')
        }
        own = self.model.state_dict()
        problems = [
            f'{key}: {tuple(state[key].shape)} in the file, '
            f'{tuple(value.shape)} in the model' for key, value in own.items()
            if key in state and state[key].shape != value.shape
        ]
        if not problems:
            result = self.model.load_state_dict(state, strict=False)
            problems = [f'{key}: missing' for key in result.missing_keys]
            problems += [
                f'{key}: unexpected' for key in result.unexpected_keys
            ]
        if problems:
            shown = '\n  '.join(problems[:12])
            more = len(problems) - 12
            raise ValueError(
                f'teacher.checkpoint {path!r} does not fit teacher.config '
                f'({self.name}): {len(problems)} of {len(own)} entries '
                f'differ.\n  {shown}' +
                (f'\n  ... and {more} more' if more > 0 else '') +
                '\nGive the config that this checkpoint was trained with.')
        meta = checkpoint.get('meta') or {}
        classes = (meta.get('dataset_meta') or {}).get('classes')
        self.classes = tuple(classes or meta.get('CLASSES') or self.classes)

    def __deepcopy__(self, memo: dict) -> FrozenTeacher:
        return self

    def apply(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Move or cast the teacher as the student is moved or cast."""
        self.model._apply(fn)

    def check_classes(self, classes: Sequence[str]) -> None:
        """Compare class names and their order with the student's.

        Raises:
            ValueError: If they differ; names the first that does.
        """
        theirs, ours = list(self.classes), list(classes)
        if not theirs or theirs == ours:
            return
        if len(theirs) == len(ours):
            index = next(
                i for i, (a, b) in enumerate(zip(theirs, ours)) if a != b)
            what = (f'class {index} is {theirs[index]!r} for the teacher and '
                    f'{ours[index]!r} for the student')
        else:
            only = sorted(set(theirs) ^ set(ours))
            what = (f'the teacher has {len(theirs)} classes, the student '
                    f'{len(ours)}; not in both: {", ".join(only[:8])}')
        raise ValueError(
            f'teacher and student disagree on the classes: {what}. Logits are '
            'compared class by class, so names and order must be the same: '
            'train the teacher on this data set, or give the data set the '
            "teacher's order with metainfo=dict(classes=...).")

    def convert_inputs(self, batch_inputs: Tensor, data_preprocessor,
                       image_sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Re-normalise the student's images the way the teacher knows them.

        Args:
            batch_inputs (Tensor): Normalised images, ``(B, 3, H, W)``.
            data_preprocessor: The student's, which made them.
            image_sizes (Sequence): Height and width of each image without
                padding; outside of it pixels stay zero.

        Returns:
            Tensor: The same tensor when both preprocess alike.
        """
        if self._same_inputs is None:
            # once: comparing tensors would make a GPU wait in every step
            self._same_inputs = _preprocess_alike(
                data_preprocessor, self.model.data_preprocessor)
        if self._same_inputs:
            return batch_inputs
        mean, std, swap = _normalisation(data_preprocessor)
        other_mean, other_std, other_swap = _normalisation(
            self.model.data_preprocessor)
        images = batch_inputs * std.to(batch_inputs) + mean.to(batch_inputs)
        if swap != other_swap:
            images = images.flip(1)
        images = images - other_mean.to(images)
        images = images / other_std.to(images)
        sizes = torch.tensor(image_sizes, device=images.device)
        rows = torch.arange(images.shape[2], device=images.device)
        columns = torch.arange(images.shape[3], device=images.device)
        inside = ((rows[None, :, None] < sizes[:, 0, None, None])
                  & (columns[None, None, :] < sizes[:, 1, None, None]))
        return torch.where(inside[:, None], images, 0)


def _load_config(config: str | dict) -> Config:
    if isinstance(config, dict):
        whole = config if 'model' in config else dict(model=config)
        return Config(dict(whole))
    if '::' in config:
        try:
            return get_config(config)
        except Exception as error:
            raise FileNotFoundError(
                f'teacher.config {config!r}: {error}. Write '
                "'mmdet::<folder>/<name>.py', as in mmdet's configs "
                'folder.') from error
    if not os.path.isfile(config):
        raise FileNotFoundError(
            f'teacher.config {config!r}: no such file. Give a path, '
            "'mmdet::<folder>/<name>.py' or the config itself as a dict.")
    return Config.fromfile(config)


def _classes_of_config(cfg: Config) -> tuple[str, ...]:
    """Class names that a config's training data declares; else empty."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return tuple((dataset.get('metainfo') or {}).get('classes') or ())


def _normalisation(data_preprocessor) -> tuple[Tensor, Tensor, bool]:
    """Mean, std ``(3, 1, 1)`` and whether channels are swapped on input."""
    swap = bool(getattr(data_preprocessor, '_channel_conversion', False))
    if not getattr(data_preprocessor, '_enable_normalize', False):
        return torch.zeros(3, 1, 1), torch.ones(3, 1, 1), swap
    return (data_preprocessor.mean.view(-1, 1, 1),
            data_preprocessor.std.view(-1, 1, 1), swap)


def _preprocess_alike(one, other) -> bool:
    mean, std, swap = _normalisation(one)
    other_mean, other_std, other_swap = _normalisation(other)
    return (swap == other_swap and torch.equal(mean.cpu(), other_mean.cpu())
            and torch.equal(std.cpu(), other_std.cpu()))
