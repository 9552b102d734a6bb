"""Distil a classifier in minutes: ``python tools/quickstart_cls.py``.

Trains a teacher on scikit-learn's handwritten digits, then a small student
alone, with KD and with LumiNet, three seeds of each, and shows the results. If
it is interrupted, start it again to continue.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from pathlib import Path

from mmengine.config import Config

from luminet_mm.files.shipped import working_folder
from luminet_mm.later import Later
from luminet_mm.launch.console import reported
from luminet_mm.launch.grid import Cell
from luminet_mm.launch.progress import Progress, clock
from luminet_mm.launch.sweep import run_cells
from luminet_mm.runs.last import last_checkpoint
from luminet_mm.runs.logs import RunLog, read_log

# what takes seconds to import, when it is needed
mmpretrain = Later('mmpretrain')
stock = Later('luminet_mm.stock')
matplotlib = Later('matplotlib')
pyplot = Later('matplotlib.pyplot')

TEACHER = 'configs/handwritten/resnet_teacher_handwritten.py'
RUNS = {
    'student': (
        'student alone',
        'configs/handwritten/resnet_student_handwritten.py',
    ),
    'kd': ('KD', 'configs/handwritten/kd_resnet_handwritten.py'),
    'luminet': (
        'LumiNet',
        'configs/handwritten/luminet_resnet_handwritten.py',
    ),
}
METRIC = 'accuracy/top1'
STEPS = 23  # of an epoch: 1,415 images by 64


def student_cells(
    checkpoint: str, seeds: int, epochs: int | None = None
) -> list[Cell]:
    """Every method with every seed, the methods of a seed together."""
    cells = []
    for seed in range(seeds):
        for name, (_, config) in RUNS.items():
            options: dict = {'randomness.seed': seed}
            if name != 'student':
                options['model.teacher.checkpoint'] = checkpoint
            options.update(_length(epochs))
            cells.append(Cell(f'{name}_seed{seed}', config, options, name))
    return cells


def _length(epochs: int | None) -> dict:
    """Options that make a run shorter or longer than its config says."""
    if epochs is None:
        return {}
    return {'train_cfg.max_epochs': epochs, 'param_scheduler.T_max': epochs}


def count_parameters(config: str) -> int:
    """Weights of the model that a config deploys."""
    with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere):
        model = mmpretrain.get_model(
            stock.stock_config(Config.fromfile(config))
        )
    return sum(p.numel() for p in model.parameters())


def print_table(out: Path, cells: list[Cell]) -> None:
    """Print accuracy, size and training time of every model."""
    line = '{:16}{:>8}{:>7}{:>7}{:>12}{:>10}'
    print(
        '\n' + line.format('', 'top-1', 'std', 'runs', 'parameters', 's/step')
    )
    rows = [('teacher', TEACHER, [read_log(out / 'teacher')])]
    rows += [
        (title, config, _logs(out, cells, name))
        for name, (title, config) in RUNS.items()
    ]
    for title, config, logs in rows:
        values = [log.last(METRIC) for log in logs]
        spread = f'{statistics.stdev(values):.2f}' if len(values) > 1 else '–'
        print(
            line.format(
                title,
                f'{statistics.fmean(values):.2f}',
                spread,
                len(values),
                f'{count_parameters(config):,}',
                f'{statistics.median(log.seconds for log in logs):.3f}',
            )
        )


def _logs(out: Path, cells: list[Cell], name: str) -> list[RunLog]:
    return [read_log(out / cell.name) for cell in cells if cell.group == name]


def draw_curves(out: Path, cells: list[Cell], path: Path) -> None:
    """Draw the mean accuracy over training, one line per method."""
    matplotlib.use('Agg')
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name, (title, _) in RUNS.items():
        logs = _logs(out, cells, name)
        axes.plot(
            [entry['step'] for entry in logs[0].metrics],
            [
                statistics.fmean(entry[METRIC] for entry in entries)
                for entries in zip(*(log.metrics for log in logs))
            ],
            marker='o',
            label=title,
        )
    teacher = read_log(out / 'teacher').last(METRIC)
    axes.axhline(teacher, color='grey', linestyle='--', label='teacher')
    axes.set(xlabel='epoch', ylabel='top-1 (%)', title='handwritten digits')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


@reported()
def main() -> None:
    """Run the stages one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='work_dirs/quickstart_cls')
    parser.add_argument('--seeds', type=int, default=3, help='of each method')
    parser.add_argument('--epochs', type=int, help='of each student')
    parser.add_argument('--teacher-epochs', type=int)
    args = parser.parse_args()
    out = Path(args.out).resolve()
    os.chdir(working_folder())
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    print("1/3  teacher: training on scikit-learn's handwritten digits")
    teacher = Cell('teacher', TEACHER, _length(args.teacher_epochs))
    steps = STEPS * (args.teacher_epochs or 30)
    run_cells([teacher], out, 1, Progress(out, [teacher], steps))
    score = read_log(out / 'teacher').last(METRIC)
    print(f'     top-1 {score:.1f} %')

    titles = ', '.join(title for title, _ in RUNS.values())
    print(f'2/3  students: {titles}; {args.seeds} seeds of each')
    checkpoint = str(last_checkpoint(out / 'teacher'))
    cells = student_cells(checkpoint, args.seeds, args.epochs)
    run_cells(
        cells,
        out,
        slots=min(len(cells), os.cpu_count() or 1),
        watch=Progress(out, cells, STEPS * (args.epochs or 12)),
    )

    print('\n3/3  results, last epoch')
    print_table(out, cells)
    draw_curves(out, cells, out / 'curves.png')
    print(f'\naccuracy over training: {out / "curves.png"}')
    print(f'took {clock(time.monotonic() - started)}')
    print(
        '\nThere are 382 validation images, 0.26 points each. The pairs of '
        'the papers\non CIFAR-100 and ImageNet: docs/classifiers.md.'
    )


if __name__ == '__main__':
    main()
