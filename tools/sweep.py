"""Run a grid of configs, settings and seeds: ``python tools/sweep.py GRID``.

A grid is a Python file with ``runs``, a dict of groups of runs::

    runs = dict(
        student=dict(config='configs/frcnn_student_digits.py', seeds=[0, 1]),
        kd=dict(
            config='configs/kd_frcnn_digits.py',
            seeds=[0],
            grid={'model.distill.loss_kd.tau': [1, 2]}))

``grid`` lists values by config key; every combination is run with every seed.
Finished runs are not run again, interrupted ones go on. The table and
``summary.json`` hold the mean and standard deviation over seeds at the last
epoch, and each run's last and best.
"""

import argparse
import itertools
import json
from pathlib import Path

from mmengine.config import Config

from luminet_mm.sweep import Cell, run_cells, summarise


def make_cells(runs: dict) -> list[Cell]:
    """List every combination of a grid, in the order of the file.

    Raises:
        ValueError: If a group has no config or no seeds.
    """
    cells = []
    for name, run in runs.items():
        for key in ('config', 'seeds'):
            if not run.get(key):
                raise ValueError(f'runs.{name}.{key} is missing or empty.')
        grid = run.get('grid') or {}
        for values in itertools.product(*grid.values()):
            setting = dict(zip(grid, values, strict=True))
            words = [
                f'{key.split(".")[-1]}{value}'
                for key, value in setting.items()
            ]
            group = '_'.join([name, *words])
            for seed in run['seeds']:
                cells.append(
                    Cell(
                        name=f'{group}_seed{seed}',
                        config=run['config'],
                        options={
                            **(run.get('options') or {}),
                            **setting,
                            'randomness.seed': seed,
                        },
                        group=group,
                    )
                )
    return cells


def print_table(summary: dict, metric: str) -> None:
    """Print one line per group: mean, spread, last and best of each run."""
    # MMPretrain reports accuracy in percent, COCO metrics are fractions
    scale = 1 if metric.startswith('accuracy/') else 100
    print(f'\n{"group":40} {metric}, last epoch      s/step  runs')
    for name, group in summary.items():
        entry = group[metric]
        runs = ' '.join(f'{scale * value:.1f}' for value in entry['last'])
        print(
            f'{name:40} {scale * entry["mean"]:6.2f} ± '
            f'{scale * entry["std"]:4.2f}   {group["seconds"]:6.3f}  {runs}'
        )


def main() -> None:
    """Run a grid and write its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('grid', help='Python file with `runs`')
    parser.add_argument(
        '--out', help='folder; default work_dirs/<name of the grid>'
    )
    parser.add_argument('--slots', type=int, default=2, help='runs at a time')
    parser.add_argument(
        '--metric',
        default='coco/bbox_mAP',
        help='for classifiers accuracy/top1',
    )
    args = parser.parse_args()
    out = Path(args.out or f'work_dirs/{Path(args.grid).stem}')
    cells = make_cells(Config.fromfile(args.grid).runs)
    done: set[str] = set()

    def watch(states: dict[str, str]) -> None:
        for name, state in states.items():
            if state in ('finished', 'failed') and name not in done:
                done.add(name)
                print(
                    f'[{len(done)}/{len(cells)}] {name}: {state}', flush=True
                )

    try:
        run_cells(cells, out, args.slots, watch)
    finally:
        summary = summarise(cells, out, [args.metric])
        if summary:
            out.mkdir(parents=True, exist_ok=True)
            (out / 'summary.json').write_text(json.dumps(summary, indent=1))
            print_table(summary, args.metric)


if __name__ == '__main__':
    main()
