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
from pathlib import Path

from mmengine.config import Config

from luminet_mm.config_types import is_type
from luminet_mm.later import Later
from luminet_mm.launch.command_line import add_arguments, load_config
from luminet_mm.launch.console import reported
from luminet_mm.runs.launchers import LaunchError
from luminet_mm.teachers.cache_files import BOXES, LOGITS
from luminet_mm.teachers.entries import teacher_entries, without_cache
from luminet_mm.teachers.row_forms import USAGE, is_form

# what takes seconds to import, when it is needed
blocks = Later('luminet_mm.distillers.blocks')
box_cache = Later('luminet_mm.launch.box_cache')
logit_cache = Later('luminet_mm.launch.logit_cache')
runners = Later('luminet_mm.launch.runner')
preflight = Later('luminet_mm.preflight')
models = Later('luminet_mm.preflight.models')
cached = Later('luminet_mm.teachers.cached')


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
                logit_cache.write_logits(
                    runner, str(Path(folder)), index, args.dtype
                )


if __name__ == '__main__':
    main()
