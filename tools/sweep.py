"""Run a grid of configs, settings and seeds: ``python tools/sweep.py GRID``.

A grid is a Python file with ``runs``, a dict of groups of runs::

    runs = dict(
        student=dict(config='configs/frcnn_student_digits.py', seeds=[0, 1]),
        kd=dict(
            config='configs/kd_frcnn_digits.py',
            seeds=[0],
            grid={'model.distill.loss_kd.tau': [1, 2]}))

``grid`` lists values by config key; every combination is run with every seed.
``options`` are set in all of them. A value may be a dict, such as a whole
loss, which is merged into the config's entry. Finished runs are not repeated,
interrupted ones continue, and a folder with runs of other settings is refused.
The table shows the mean and standard deviation over seeds at the last epoch,
and each run; ``summary.json`` has each run's best epoch as well.
``--seeds`` and ``--groups`` run a part of the grid; the table holds every
finished run that has the settings of the grid.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from luminet_mm.files.config_file import read_config, read_grid
from luminet_mm.launch.console import reported
from luminet_mm.launch.grid import choose, make_cells
from luminet_mm.launch.summary import find_metric, is_done, summarise
from luminet_mm.launch.sweep import run_cells
from luminet_mm.runs.metrics import factor_of


def print_table(summary: dict, metric: str) -> None:
    """Print a line per group: mean, spread, and each run's last value."""
    scale = factor_of(metric)
    print(f'\n{"group":40} {metric}, last epoch      s/step  runs')
    for name, group in summary.items():
        entry = group[metric]
        runs = ' '.join(f'{scale * value:.1f}' for value in entry['last'])
        if group['missing']:
            runs += f' ({len(group["missing"])} missing)'
        print(
            f'{name:40} {scale * entry["mean"]:6.2f} ± '
            f'{scale * entry["std"]:4.2f}   {group["seconds"]:6.3f}  {runs}'
        )


def check_metric(configs: list[str], metric: str) -> None:
    """Find a misspelt metric before hours are spent.

    Raises:
        ValueError: If a config's evaluators do not report it.
    """
    # imports the detectors, which a sweep itself does not need
    from luminet_mm.preflight.evaluators import metric_problem

    for config in dict.fromkeys(configs):
        problem = metric_problem(read_config(config), metric)
        if problem:
            raise ValueError(f'--metric {metric}: {config}: {problem}')


@reported()
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
        help='what to summarise, with or without its prefix; default '
        'coco/bbox_mAP or accuracy/top1',
    )
    parser.add_argument(
        '--groups',
        nargs='+',
        metavar='NAME',
        help="run only these; patterns such as 'kd*' in quotes",
    )
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        metavar='SEED',
        help='run only these',
    )
    args = parser.parse_args()
    # like Ctrl-C: the runs end with the sweep
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = Path(args.out or f'work_dirs/{Path(args.grid).stem}')
    cells = make_cells(read_grid(args.grid))
    chosen = choose(cells, args.groups, args.seeds)
    done: set[str] = set()

    def watch(states: dict[str, str]) -> None:
        for name, state in states.items():
            if state in ('finished', 'failed') and name not in done:
                done.add(name)
                print(
                    f'[{len(done)}/{len(chosen)}] {name}: {state}', flush=True
                )

    problem = None
    try:
        if args.metric is not None:
            check_metric([cell.config for cell in chosen], args.metric)
        run_cells(chosen, out, args.slots, watch)
    except KeyboardInterrupt:
        problem = 'interrupted; run the same command to continue'
    except (RuntimeError, ValueError) as error:
        problem = str(error)
    if any(is_done(cell, out) for cell in cells):
        try:
            metric = find_metric(cells, out, args.metric)
        except ValueError as error:
            problem = f'{problem}\n{error}' if problem else str(error)
        else:
            summary = summarise(cells, out, [metric])
            (out / 'summary.json').write_text(json.dumps(summary, indent=1))
            print_table(summary, metric)
    if problem:
        sys.exit(f'\n{problem}')


if __name__ == '__main__':
    main()
