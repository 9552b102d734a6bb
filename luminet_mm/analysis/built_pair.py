"""Build the student and the teachers that ``tools/analyze.py`` compares."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.model import BaseModel
from torch.utils.data import DataLoader

from luminet_mm.analysis.pair import LogitPair, boxes_in_view
from luminet_mm.analysis.rows import AnalysisError
from luminet_mm.launch.command_line import load_config
from luminet_mm.launch.runner import build_runner
from luminet_mm.loading.checkpoint import (
    BESIDE_STUDENT,
    get_state_dict,
    load_checkpoint,
)
from luminet_mm.loading.weights import load_weights, unwrapped
from luminet_mm.preflight import check_config
from luminet_mm.runs.launchers import LaunchError
from luminet_mm.stock import stock_config
from luminet_mm.teachers.entries import teacher_list, without_cache
from luminet_mm.teachers.frozen import FrozenTeacher
from luminet_mm.timing.step import count_parameters


def build_pair(
    args: argparse.Namespace,
) -> tuple[LogitPair, DataLoader, dict]:
    """Build all models and the data loader.

    Args:
        args: The tool's command line; ``out`` is filled in.

    Returns:
        The pair, the loader, and notes about them.

    Raises:
        LaunchError: If something is not given.
        ValueError: If config, data, weights or classes are wrong.
        FileNotFoundError: If a teacher's file does not exist.
    """
    cfg = load_config(args)
    blocks = teacher_blocks(cfg, args)
    args.out = args.out or str(Path(cfg.work_dir, 'analysis'))
    split = args.split or ('test' if cfg.get('test_dataloader') else 'val')
    if not cfg.get(f'{split}_dataloader'):
        raise LaunchError(f'{args.config} has no {split}_dataloader.')
    cfg = stock_config(cfg)
    cfg.load_from = args.checkpoint
    check_config(cfg, (split,))
    # The runner's own loading ignores missing weights.
    cfg.load_from = None
    cfg.work_dir = args.out
    cfg.log_level = 'WARNING'
    runner = build_runner(cfg, args=args)
    model = unwrapped(runner.model)
    load_student(model, args)
    model.eval()

    scope = cfg.get('default_scope', 'mmengine')
    teachers = []
    for block in blocks:
        weight = block.pop('weight', 1.0)
        without_cache(block)  # which is of the training data
        block.pop('boxes_per_step', None)  # the student's RoIs are compared
        teachers.append((FrozenTeacher(**block, default_scope=scope), weight))
    pair = LogitPair(model, teachers)

    settings = cfg[f'{split}_dataloader']
    # each image once, also on several processes
    settings.sampler = dict(
        type='DefaultSampler', shuffle=False, round_up=False
    )
    if pair.detects:
        boxes_in_view(settings.dataset)
    loader = runner.build_dataloader(settings, seed=runner.seed)
    classes = list((loader.dataset.metainfo or {}).get('classes') or ())
    for teacher, _ in teachers:
        teacher.check_names(classes)
        teacher.model.to(next(model.parameters()).device)
    if pair.detects:
        classes += ['background']
        pair.labelled = any(
            loader.dataset.get_data_info(index).get('instances')
            for index in range(len(loader.dataset))
        )
    about = dict(
        models=dict(
            student=dict(
                config=args.config,
                checkpoint=args.checkpoint,
                parameters=count_parameters(model),
            ),
            teachers=[
                dict(
                    config=teacher.name
                    if isinstance(block['config'], dict)
                    else block['config'],
                    checkpoint=block['checkpoint'],
                    weight=weight,
                    parameters=count_parameters(teacher.model),
                )
                for block, (teacher, weight) in zip(blocks, teachers)
            ],
        ),
        split=split,
        images=len(loader.dataset),
        classes=classes,
    )
    return pair, loader, about


def teacher_blocks(cfg: Config, args: argparse.Namespace) -> list[dict]:
    """The teachers from the flags, else from the config.

    Raises:
        LaunchError: If one has no config or no checkpoint, or the flags name
            only one of them and the config has several teachers.
    """
    blocks = [
        dict(block) for block in teacher_list(cfg.model.get('teacher')) or [{}]
    ]
    flags = dict(
        config=args.teacher_config, checkpoint=args.teacher_checkpoint
    )
    flags = {key: value for key, value in flags.items() if value}
    if flags:
        if len(blocks) > 1 and len(flags) < 2:
            raise LaunchError(
                f'{args.config} has several teachers: give both '
                '--teacher-config and --teacher-checkpoint to use another.'
            )
        blocks = [dict(blocks[0], **flags)] if len(blocks) == 1 else [flags]
    for block in blocks:
        for key in ('config', 'checkpoint'):
            if not block.get(key):
                raise LaunchError(
                    f'the teacher has no {key}: give --teacher-{key}, or a '
                    'distillation config with model.teacher.'
                )
    return blocks


def load_student(model: BaseModel, args: argparse.Namespace) -> None:
    """Load every weight of the student, without a method's own parts.

    Raises:
        AnalysisError: If a weight is missing, of another shape, or left over.
    """
    state = get_state_dict(load_checkpoint(args.checkpoint))
    for key in [key for key in state if key.startswith(BESIDE_STUDENT)]:
        del state[key]
    fit = load_weights(model, state)
    problems = fit.lines() + [f'{key}: unexpected' for key in fit.unexpected]
    if problems:
        more = len(problems) - 12
        raise AnalysisError(
            f'checkpoint {args.checkpoint} does not fit {args.config}. Give '
            'the config that it was trained with.\n  '
            + '\n  '.join(problems[:12])
            + (f'\n  ... and {more} more' if more > 0 else '')
        )
