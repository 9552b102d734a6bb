"""Write what a teacher says to disk: ``python tools/cache_teacher.py CONFIG``.

CONFIG is a distilled classifier whose training data are a
``luminet_mm.ReplayDataset``, or a two-stage detector whose images are resized
and flipped alone. All views pass through the teacher once: of a classifier the
logits are written, of a detector the logits and boxes of a number of boxes.
Then every student with this folder as ``model.teacher.cache`` trains without a
running teacher. To continue an interrupted run, run the same command again.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from mmengine.config import Config

from luminet_mm.config_types import is_type
from luminet_mm.later import Later
from luminet_mm.launch.command_line import add_arguments, load_config
from luminet_mm.launch.console import reported
from luminet_mm.runs.launchers import LaunchError
from luminet_mm.teachers.cache_files import BOXES, LOGITS, CacheError
from luminet_mm.teachers.entries import teacher_entries, without_cache
from luminet_mm.teachers.row_forms import USAGE, is_form

# what takes seconds to import, when it is needed
replay = Later('luminet_mm.datasets.replay')
blocks = Later('luminet_mm.distillers.blocks')
classifiers = Later('luminet_mm.distillers.classifier')
distilling = Later('luminet_mm.hooks.distiller')
box_cache = Later('luminet_mm.launch.box_cache')
runners = Later('luminet_mm.launch.runner')
preflight = Later('luminet_mm.preflight')
models = Later('luminet_mm.preflight.models')
families = Later('luminet_mm.signals.family')
cache_header = Later('luminet_mm.teachers.cache_header')
cache_writer = Later('luminet_mm.teachers.cache_writer')
cached = Later('luminet_mm.teachers.cached')
dist = Later('mmengine.dist')
mmengine_runner = Later('mmengine.runner')
torch = Later('torch')
torch_data = Later('torch.utils.data')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a distilled model')
    add_arguments(parser)
    parser.add_argument(
        '--out',
        help="folder to write to; default: the config's model.teacher.cache",
    )
    parser.add_argument(
        '--dtype',
        default='float32',
        help='float32; float16: half the size, three digits of each logit; '
        'int8: a byte for each; topK, such as top10: the K most likely '
        'classes alone, for KD with tau=1 (%(default)s). For classifiers; a '
        "detector's logits take 8 bits",
    )
    parser.add_argument(
        '--boxes',
        type=int,
        help='boxes of each view of a detector; default: as many as the '
        "student's sampler draws",
    )
    parser.add_argument(
        '--jittered',
        type=int,
        help='how many of them are objects that are moved a little; default: '
        'the share of positives that it draws',
    )
    args = parser.parse_args()
    if not is_form(args.dtype):
        parser.error(f'--dtype {args.dtype}: it is not {USAGE}')
    return args


def cache_kind(cfg: Config) -> str:
    """What a cache of a config's teacher would hold."""
    cls = models.distiller_class(cfg)
    return LOGITS if cls is None else cls.family.cached  # type: ignore


def take_caches(cfg: Config, out: str | None) -> dict[int, str]:
    """Remove the cache folders from a config, so that its teachers run.

    Args:
        cfg: Changed in place.
        out: Folder for the only teacher, instead of the config's.

    Returns:
        Folders, by the teachers' numbers.

    Raises:
        LaunchError: If no folder is named, or the data cannot be replayed.
    """
    entries = teacher_entries(cfg.get('model', {}).get('teacher'))
    if not entries:
        raise LaunchError(
            'the config has no model.teacher. Give the config of a distilled '
            'classifier or two-stage detector.'
        )
    if out is not None and len(entries) > 1:
        raise LaunchError(
            f'--out names one folder, but the config has {len(entries)} '
            'teachers. Set `cache` in each entry of model.teacher.'
        )
    if out is not None:
        entries[0][1]['cache'] = out
    kind = cache_kind(cfg)
    problems = blocks.block_problems(
        cfg.model.teacher, cfg.model.get('distill'), cached=kind
    )
    if problems:
        raise LaunchError('\n'.join(problems))
    folders = {
        index: folder
        for index, (_, teacher) in enumerate(entries)
        if (folder := without_cache(teacher)) is not None
    }
    if not folders:
        raise LaunchError(
            'no folder to write to. Set model.teacher.cache in the config, '
            'or --out DIR.'
        )
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if kind == LOGITS and not is_type(dataset, 'luminet_mm.ReplayDataset'):
        raise LaunchError(
            f'views that are drawn again in each run cannot be cached. Set '
            f'{cached.DATASET}rounds=..., dataset=<the data set>).'
        )
    return folders


class Views:
    """One teacher's answers for the views of the training data.

    Args:
        runner: The distillation's, not yet training.
        index: Number of the teacher.
    """

    def __init__(self, runner: mmengine_runner.Runner, index: int) -> None:
        model = distilling.distiller_of(runner, 'tools/cache_teacher.py')
        if not isinstance(model, classifiers.ClassifierDistiller):
            raise CacheError(
                f'{type(model).__name__}: only classifiers and two-stage '
                'detectors have caches. Remove `cache`.'
            )
        cached.check_student('model.teacher', model)
        model.eval()
        self.model = model
        self.index = index
        self.teacher = model.teachers[index]
        self.size: tuple[int, int] | None = None
        model.fit_teacher(index)
        signal = self.teacher.find(model.family, 'logits')
        self.questions = [families.Question([signal], [signal])]

    def ask(
        self, batch: dict
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Run the teacher on a batch's views.

        Returns:
            Their numbers ``(B,)``, logits ``(B, classes)``, and
            whether the teacher is right ``(B,)``: 1, 0, or -1 where there is
            no single label.

        Raises:
            CacheError: If images are padded to a batch's largest.
        """
        raw = [tuple(image.shape[-2:]) for image in batch['inputs']]
        data = self.model.data_preprocessor(batch, False)
        images, samples = data['inputs'], data['data_samples']
        sizes = {*raw, tuple(images.shape[-2:])}
        self.size = self.size or raw[0]
        if sizes != {self.size}:
            shown = ', '.join(f'{h}x{w}' for h, w in sorted(sizes))
            raise CacheError(
                f'the images have {shown} pixels and would be padded '
                'differently in each batch. Crop or resize them to one size.'
            )
        with torch.no_grad():
            ahead = self.teacher.begin(
                self.model, images, samples, self.questions
            ).wait()
            (logits,) = self.model.family.answer(
                self.teacher.model, ahead, self.questions, None
            )
        right = [
            guess == int(sample.gt_label)
            if 'gt_label' in sample and sample.gt_label.numel() == 1
            else -1
            for sample, guess in zip(samples, logits.argmax(1).tolist())
        ]
        views = [sample.view for sample in samples]
        return (
            torch.tensor(views, device=logits.device),
            logits.float(),
            torch.tensor(right, device=logits.device, dtype=torch.int8),
        )


def write(
    runner: mmengine_runner.Runner, folder: str, index: int, dtype: str
) -> None:
    """Write the missing part of one teacher's cache, with all processes.

    Raises:
        CacheError: If the folder holds the cache of something else.
    """
    cfg = runner.cfg
    loader = runner.build_dataloader(
        dict(
            {
                key: value
                for key, value in cfg.train_dataloader.items()
                if key not in ('batch_sampler', 'drop_last', 'sampler')
            },
            sampler=dict(type='luminet_mm.ReplaySampler', shuffle=False),
        )
    )
    dataset = loader.dataset
    assert isinstance(dataset, replay.ReplayDataset)
    views = Views(runner, index)
    leaves = preflight.leaf_datasets(dataset)
    for leaf in leaves:
        views.teacher.check_names(
            (getattr(leaf, 'metainfo', None) or {}).get('classes') or ()
        )
    first = loader.collate_fn(dataset.__getitems__([0]))
    classes = views.ask(first)[1].shape[1]

    _, block = teacher_entries(cfg.model.teacher)[index]
    plan: list = [None, '']
    with ExitStack() as stack:
        writer = None
        if dist.is_main_process():
            try:
                header = cache_header.make_header(
                    block, dataset, leaves, classes, dtype
                )
                writer = stack.enter_context(
                    cache_writer.CacheWriter(folder, header)
                )
                plan[0] = writer.missing()
                _check_rounds(folder, plan[0], dataset.rounds)
                if plan[0]:
                    writer.begin()
            except ValueError as error:
                plan[1] = str(error)
        dist.broadcast_object_list(plan)
        if plan[1]:
            raise CacheError(plan[1])
        _write_rounds(runner, loader, views, plan[0], writer)


def _write_rounds(
    runner: mmengine_runner.Runner,
    loader: torch_data.DataLoader,
    views: Views,
    missing: list[int],
    writer: cache_writer.CacheWriter | None,
) -> None:
    """Answer for the views of some rounds; the first process writes."""
    images, right, seen = len(loader.dataset), 0, 0
    if writer and writer.damaged:
        runner.logger.warning(f'damaged rounds: {writer.damaged}')
    for number in missing:
        started = time.monotonic()
        # by image: the sampler repeats some of them
        marks = np.full(images, -1, np.int8)
        if writer:
            writer.open(number)
        loader.sampler.set_epoch(number)
        for batch in loader:
            # every process has the same number: the sampler rounds up
            gathered = [dist.gather(each) for each in views.ask(batch)]
            if writer is None:
                continue
            for parts in zip(*gathered, strict=True):
                which, logits, hits = (part.cpu().numpy() for part in parts)
                writer.put(which % images, logits)
                marks[which % images] = hits
        right += int((marks == 1).sum())
        seen += int((marks >= 0).sum())
        if writer:
            writer.close(number)
        runner.logger.info(
            f'round {number + 1}, {len(missing)} were missing; '
            f'{time.monotonic() - started:.1f} s'
        )
    if writer:
        if seen:
            writer.header['top1'] = round(100 * right / seen, 2)
        if missing or not writer.finished:
            writer.finish()
        runner.logger.info(writer.summary())


def _check_rounds(folder: str, missing: list[int], rounds: int) -> None:
    """Refuse to write rounds that the data set does not have.

    Raises:
        CacheError: If one is missing that only more rounds could give.
    """
    if missing and missing[-1] >= rounds:
        raise CacheError(
            f'{folder}: round {missing[-1] + 1} is missing and '
            f'train_dataloader.dataset.rounds is {rounds}. Set it to '
            f'{missing[-1] + 1} or more to continue, or delete the folder.'
        )


def main() -> None:
    """Check everything that can be checked, then write."""
    args = parse_args()
    with reported(args):
        cfg = load_config(args)
        preflight.check_text(cfg, ('train',), args.faults)
        folders = take_caches(cfg, args.out)
        preflight.check_config(cfg, phases=('train',))
        runner = runners.build_runner(cfg, args=args)
        for index, folder in folders.items():
            if cache_kind(cfg) == BOXES:
                box_cache.write_boxes(
                    runner, str(Path(folder)), index, args.boxes, args.jittered
                )
            else:
                write(runner, str(Path(folder)), index, args.dtype)


if __name__ == '__main__':
    main()
