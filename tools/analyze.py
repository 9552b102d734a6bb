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
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from luminet_mm.later import Later
from luminet_mm.launch.command_line import add_arguments
from luminet_mm.launch.console import reported

# what takes seconds to import, when it is needed
analysis = Later('luminet_mm.analysis')
built = Later('luminet_mm.analysis.built_pair')
dist = Later('mmengine.dist')


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
        pair, loader, about = built.build_pair(args)
    out = Path(args.out or args.work_dir or 'work_dirs/analysis')
    if args.config:
        statistics = analysis.measure(pair, loader)
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
