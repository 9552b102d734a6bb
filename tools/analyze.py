"""What distillation did: ``python tools/analyze.py CONFIG CHECKPOINT``.

Runs a student and its teacher over the test set and compares their logits, per
image for classifiers and per RoI of the student for two-stage detectors.
Writes ``analysis.json``, ``matrices.npz``, ``similarity.png`` and
``reliability.png``. ``--runs`` adds accuracy against parameters and a table of
costs for finished runs, and works without a student. ``docs/report.md`` says
how to read them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.utils import track_iter_progress

from luminet_mm.later import Later
from luminet_mm.launch.command_line import add_arguments, load_config
from luminet_mm.launch.console import reported
from luminet_mm.runs.launchers import LaunchError
from luminet_mm.teachers.entries import teacher_list, without_cache

# what takes seconds to import, when it is needed
analysis = Later('luminet_mm.analysis')
runners = Later('luminet_mm.launch.runner')
checkpoints = Later('luminet_mm.loading.checkpoint')
weights = Later('luminet_mm.loading.weights')
preflight = Later('luminet_mm.preflight')
stock = Later('luminet_mm.stock')
frozen = Later('luminet_mm.teachers.frozen')
dist = Later('mmengine.dist')
mmengine_model = Later('mmengine.model')
torch_data = Later('torch.utils.data')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'config', nargs='?', help="the student's config, distilled or stock"
    )
    parser.add_argument('checkpoint', nargs='?', help="the student's weights")
    add_arguments(parser)
    parser.add_argument(
        '--teacher-config', help="default: the config's model.teacher"
    )
    parser.add_argument(
        '--teacher-checkpoint', help='file or URL; default as above'
    )
    parser.add_argument(
        '--split',
        choices=['test', 'val'],
        help='which data loader of the config; default test if it has one',
    )
    parser.add_argument(
        '--out', help='folder of the results; default <work dir>/analysis'
    )
    parser.add_argument(
        '--max-gap',
        type=float,
        default=3.0,
        help='logit gap that is drawn darkest; keep it fixed to compare pairs',
    )
    parser.add_argument(
        '--runs',
        nargs='+',
        default=[],
        help='work dirs, folders of tools/sweep.py or their summary.json',
    )
    parser.add_argument(
        '--metric',
        help='metric of the runs; default: the only candidate, if it is clear',
    )
    args = parser.parse_args()
    if args.config and not args.checkpoint:
        parser.error('give the checkpoint of the student after its config')
    if not args.config and not args.runs:
        parser.error('give config and checkpoint of a student, or --runs')
    return args


def build_pair(
    args: argparse.Namespace,
) -> tuple[analysis.LogitPair, torch_data.DataLoader, dict]:
    """Build both models and the data loader.

    Returns:
        The pair, the loader, and notes about them.

    Raises:
        LaunchError: If something is not given.
        ValueError: If config, data, weights or classes are wrong.
        FileNotFoundError: If a teacher's file does not exist.
    """
    cfg = load_config(args)
    blocks = _teacher_blocks(cfg, args)
    args.out = args.out or str(Path(cfg.work_dir, 'analysis'))
    split = args.split or ('test' if cfg.get('test_dataloader') else 'val')
    if not cfg.get(f'{split}_dataloader'):
        raise LaunchError(f'{args.config} has no {split}_dataloader.')
    cfg = stock.stock_config(cfg)
    cfg.load_from = args.checkpoint
    preflight.check_config(cfg, (split,))
    # The runner's own loading ignores missing weights.
    cfg.load_from = None
    cfg.work_dir = args.out
    cfg.log_level = 'WARNING'
    runner = runners.build_runner(cfg, args=args)
    model = weights.unwrapped(runner.model)
    _load_student(model, args)
    model.eval()

    scope = cfg.get('default_scope', 'mmengine')
    teachers = []
    for block in blocks:
        weight = block.pop('weight', 1.0)
        without_cache(block)  # which is of the training data
        block.pop('boxes_per_step', None)  # the student's RoIs are compared
        teachers.append(
            (frozen.FrozenTeacher(**block, default_scope=scope), weight)
        )
    pair = analysis.LogitPair(model, teachers)

    settings = cfg[f'{split}_dataloader']
    # each image once, also on several processes
    settings.sampler = dict(
        type='DefaultSampler', shuffle=False, round_up=False
    )
    if pair.detects:
        analysis.boxes_in_view(settings.dataset)
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
                parameters=analysis.count_parameters(model),
            ),
            teachers=[
                dict(
                    config=teacher.name
                    if isinstance(block['config'], dict)
                    else block['config'],
                    checkpoint=block['checkpoint'],
                    weight=weight,
                    parameters=analysis.count_parameters(teacher.model),
                )
                for block, (teacher, weight) in zip(blocks, teachers)
            ],
        ),
        split=split,
        images=len(loader.dataset),
        classes=classes,
    )
    return pair, loader, about


def _teacher_blocks(cfg: Config, args: argparse.Namespace) -> list[dict]:
    """The teachers from the flags, else from the config."""
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


def _load_student(
    model: mmengine_model.BaseModel, args: argparse.Namespace
) -> None:
    """Load every weight of the student, without a method's own parts."""
    state = checkpoints.get_state_dict(
        checkpoints.load_checkpoint(args.checkpoint)
    )
    for key in [
        key for key in state if key.startswith(checkpoints.BESIDE_STUDENT)
    ]:
        del state[key]
    fit = weights.load_weights(model, state)
    problems = fit.lines() + [f'{key}: unexpected' for key in fit.unexpected]
    if problems:
        more = len(problems) - 12
        raise analysis.AnalysisError(
            f'checkpoint {args.checkpoint} does not fit {args.config}. Give '
            'the config that it was trained with.\n  '
            + '\n  '.join(problems[:12])
            + (f'\n  ... and {more} more' if more > 0 else '')
        )


def measure(
    pair: analysis.LogitPair, loader: torch_data.DataLoader
) -> analysis.PairStatistics | None:
    """Run both models over the data, on all processes.

    Returns:
        Of all rows; None when no batch came.
    """
    statistics = None
    batches: Iterable = loader
    if dist.get_rank() == 0:
        batches = track_iter_progress((loader, len(loader)))
    for data in batches:
        student, teacher, labels = pair(data)
        if statistics is None:
            statistics = analysis.PairStatistics(student.shape[-1])
        statistics.update(student, teacher, labels)
    parts = [part for part in dist.all_gather_object(statistics) if part]
    for part in parts[1:]:
        parts[0].merge(part)
    return parts[0] if parts else None


def report(
    statistics: analysis.PairStatistics, about: dict, detects: bool
) -> dict:
    """Collect the numbers; a detector's foreground separately."""
    if len(about['classes']) != statistics.num_classes:
        about['classes'] = [str(i) for i in range(statistics.num_classes)]
    result = dict(about, **statistics.summary())
    if detects and result['labelled']:
        result['foreground'] = dict(
            rows=sum(result['per_class']['rows'][:-1]),
            **statistics.means(slice(-1)),
        )
    return result


def print_pair(result: dict) -> None:
    """Print the main numbers of the comparison."""

    def show(value: float | None) -> str:
        return '-' if value is None else f'{value:.4f}'

    print(f'\n{result["rows"]:,} rows of {result["images"]:,} images')
    print(f'{"":10} {"accuracy":>9} {"confidence":>11} {"ECE":>7}')
    for side in analysis.SIDES:
        print(
            f'{side:10} {show(result[f"{side}_accuracy"]):>9} '
            f'{show(result[side]["confidence"]):>11} '
            f'{show(result[side]["ece"]):>7}'
        )
    parts = {'all rows': result, 'foreground': result.get('foreground')}
    for name, part in parts.items():
        if part:
            print(
                f'{name}: agreement {show(part["agreement"])}, '
                f'KL {show(part["kl"])}'
            )
    print(
        f'similarity {show(result["similarity"])}, '
        f'logit gap {show(result["logit_gap"]["mean"])}, '
        f'correlation gap {show(result["correlation_gap"]["mean"])}'
    )


def print_runs(runs: Sequence[dict]) -> None:
    """Print the table of costs in Markdown."""

    def show(value: float | None, form: str) -> str:
        return '-' if value is None else format(value, form)

    print(
        f'\n| run | s/batch | extra parameters | parameters | '
        f'{runs[0]["metric"]} | std | runs |\n|---|---|---|---|---|---|---|'
    )
    for run in runs:
        cells = (
            run['name'],
            show(run['seconds_per_batch'], '.4f'),
            show(run['extra_parameters'], ','),
            show(run['parameters'], ','),
            show(run['accuracy'], '.4g'),
            show(run['std'], '.2g'),
            run['runs'],
        )
        print('| ' + ' | '.join(map(str, cells)) + ' |')


def main() -> None:
    """Check what can be checked, then measure, then write."""
    args = parse_args()
    with reported(args):
        analyze(args)


def analyze(args: argparse.Namespace) -> None:
    """Measure a pair of models, compare runs, and write the results."""
    result: dict = {}
    runs = analysis.read_runs(args.runs, args.metric)
    if args.config:
        pair, loader, about = build_pair(args)
    out = Path(args.out or args.work_dir or 'work_dirs/analysis')
    if args.config:
        statistics = measure(pair, loader)
        if dist.get_rank():
            return
        if statistics is None:
            raise analysis.AnalysisError('the data set is empty.')
        result = report(statistics, about, pair.detects)
    out.mkdir(parents=True, exist_ok=True)
    if args.config:
        analysis.draw_similarity(
            statistics,
            result['classes'],
            args.max_gap,
            out / 'similarity.png',
        )
        if result['labelled']:
            analysis.draw_reliability(result, out / 'reliability.png')
        np.savez_compressed(
            out / 'matrices.npz',
            logit_gap=statistics.logit_gap(),
            correlation_gap=statistics.correlation_gap(),
        )
        print_pair(result)
    if runs:
        result['runs'] = runs
        analysis.draw_parameters(runs, out / 'parameters.png')
        print_runs(runs)
    text = json.dumps(result, indent=1, allow_nan=False)
    (out / 'analysis.json').write_text(text + '\n')
    print(f'\nwrote {out}')


if __name__ == '__main__':
    main()
