"""Distil a detector in minutes: ``python tools/quickstart.py``.

Makes the data, scores the shipped teacher, trains a student alone, with KD and
with LumiNet, and shows the results: a table and two pictures. If it is
interrupted, start it again to continue.
"""

import argparse
import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import matplotlib
import numpy as np

import luminet_mm  # noqa: F401  (serves mmcv.ops before mmdet is imported)
from luminet_mm.datasets import make_digits
from luminet_mm.launch.console import reported
from luminet_mm.launch.grid import Cell
from luminet_mm.launch.progress import Progress, clock
from luminet_mm.launch.sweep import run_cells
from luminet_mm.loading.strict import install_strict_loading
from luminet_mm.runs.checkpoints import last_checkpoint
from luminet_mm.runs.logs import read_log

matplotlib.use('Agg')
ROOT = Path(__file__).resolve().parent.parent
TEACHER = 'configs/frcnn_teacher_digits.py'
WEIGHTS = 'weights/digits_teacher.pth'  # its, as shipped
RUNS = {
    'student': ('student alone', 'configs/frcnn_student_digits.py'),
    'kd': ('KD', 'configs/kd_frcnn_digits.py'),
    'luminet': ('LumiNet', 'configs/luminet_frcnn_digits.py'),
}
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Redirect the libraries' output to a file."""
    with log.open('a') as stream, contextlib.redirect_stdout(stream):
        yield


def score_teacher(out: Path) -> dict:
    """AP of the shipped teacher on the validation set; kept in a file."""
    kept = out / 'teacher.json'
    if kept.is_file():
        # truncated by a full disk: make it again
        with contextlib.suppress(ValueError):
            return json.loads(kept.read_text())
    from mmengine.config import Config
    from mmengine.runner import Runner

    cfg = Config.fromfile(TEACHER)
    cfg.work_dir = str(out / 'teacher')
    cfg.log_level = 'ERROR'
    cfg.load_from = WEIGHTS
    with quiet(out / 'teacher.log'):
        metrics = Runner.from_cfg(cfg).test()
    kept.write_text(json.dumps(metrics))
    return metrics


def print_table(out: Path, teacher: dict, models: dict) -> None:
    """Print AP, size and training time of every model."""
    line = '{:16}{:>7}{:>7}{:>7}{:>13}{:>10}'
    print('\n' + line.format('', 'AP', 'AP50', 'AP75', 'parameters', 's/step'))
    rows = {'teacher': ('teacher', teacher, math.nan)}
    for name, (title, _) in RUNS.items():
        log = read_log(out / name)
        rows[name] = (title, log.metrics[-1], log.seconds)
    for name, (title, metrics, seconds) in rows.items():
        values = [f'{100 * metrics[f"coco/{key}"]:.1f}' for key in METRICS]
        size = sum(p.numel() for p in models[name].parameters())
        step = '' if math.isnan(seconds) else f'{seconds:.2f}'
        print(line.format(title, *values, f'{size:,}', step))


def load_models(out: Path) -> dict:
    """The teacher and the trained students, ready to predict."""
    from mmdet.apis import init_detector
    from mmengine.config import Config

    from luminet_mm.stock import stock_config

    sources = {'teacher': (TEACHER, WEIGHTS)}
    for name, (_, config) in RUNS.items():
        sources[name] = (config, str(last_checkpoint(out / name)))
    return {
        name: init_detector(
            stock_config(Config.fromfile(config)), checkpoint, device='cpu'
        )
        for name, (config, checkpoint) in sources.items()
    }


def draw_detections(models: dict, path: Path, count: int = 4) -> None:
    """Draw truth, teacher, student and distilled student side by side."""
    from mmdet.apis import inference_detector
    from mmdet.visualization import DetLocalVisualizer
    from mmengine.structures import InstanceData

    content = json.loads(Path('data/digits/annotations/val.json').read_text())
    scale = 3
    visualizer = DetLocalVisualizer(line_width=2)
    visualizer.dataset_meta = models['teacher'].dataset_meta
    titles = ['ground truth', 'teacher', 'student alone', 'LumiNet']
    rows = []
    for image in content['images'][:count]:
        pixels = cv2.imread(f'data/digits/{image["file_name"]}')
        large = cv2.resize(
            pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
        )[..., ::-1]
        truth = [
            a for a in content['annotations'] if a['image_id'] == image['id']
        ]
        boxes = np.array([a['bbox'] for a in truth], dtype=float)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([a['category_id'] for a in truth])
        labels -= min(c['id'] for c in content['categories'])
        shown = [(boxes, labels, None)]
        for name in ('teacher', 'student', 'luminet'):
            found = inference_detector(models[name], pixels).pred_instances
            found = found[found.scores > 0.3].numpy()
            shown.append((found.bboxes, found.labels, found.scores))
        tiles = []
        for boxes, labels, scores in shown:
            instances = InstanceData(bboxes=boxes * scale, labels=labels)
            if scores is not None:
                instances.scores = scores
            tiles.append(
                visualizer._draw_instances(
                    large,
                    instances,
                    visualizer.dataset_meta['classes'],
                    visualizer.dataset_meta.get('palette'),
                )
            )
        rows.append(np.hstack(tiles))
    figure = np.vstack(rows)[..., ::-1]
    header = np.full((40, figure.shape[1], 3), 255, np.uint8)
    for index, title in enumerate(titles):
        cv2.putText(
            header,
            title,
            (index * 160 * scale + 10, 28),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.9,
            (0, 0, 0),
            2,
        )
    cv2.imwrite(str(path), np.vstack([header, figure]))


def draw_curves(out: Path, path: Path) -> None:
    """Draw AP over training, one line per run."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name, (title, _) in RUNS.items():
        log = read_log(out / name)
        axes.plot(
            [entry['step'] for entry in log.metrics],
            [100 * entry['coco/bbox_mAP'] for entry in log.metrics],
            marker='o',
            label=title,
        )
    axes.set(xlabel='epoch', ylabel='COCO AP', title='digits in scenes')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


@reported()
def main() -> None:
    """Run the stages one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='work_dirs/quickstart')
    parser.add_argument(
        '--epochs', type=int, default=3, help='of each student'
    )
    args = parser.parse_args()
    install_strict_loading()
    out = Path(args.out).resolve()
    os.chdir(ROOT)
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    print('1/4  data: digits in scenes (40 MB, made once)')
    sizes = {}
    for split in ('train', 'val'):
        path = make_digits('data/digits/', split)
        sizes[split] = len(json.loads(path.read_text())['images'])

    print('2/4  teacher: scoring the shipped weights')
    teacher = score_teacher(out)
    print(f'     AP {100 * teacher["coco/bbox_mAP"]:.1f}')

    print(f'3/4  training: {", ".join(title for title, _ in RUNS.values())}')
    options = {
        'train_cfg.max_epochs': args.epochs,
        'param_scheduler.1.T_max': args.epochs,
        'train_dataloader.dataset.num_images': sizes['train'],
    }
    cells = [
        Cell(name, config, dict(options)) for name, (_, config) in RUNS.items()
    ]
    steps = args.epochs * math.ceil(sizes['train'] / 8)
    run_cells(
        cells,
        out,
        slots=min(len(cells), os.cpu_count() or 1),
        watch=Progress(
            out,
            cells,
            steps,
            {name: title for name, (title, _) in RUNS.items()},
        ),
    )

    print('\n4/4  results')
    with quiet(out / 'models.log'):
        models = load_models(out)
    print_table(out, teacher, models)
    draw_detections(models, out / 'detections.png')
    draw_curves(out, out / 'curves.png')
    print(f'\nside by side: {out / "detections.png"}')
    print(f'AP over training: {out / "curves.png"}')
    print(f'took {clock(time.monotonic() - started)}')
    print(
        '\nOne run of each shows little: docs/results.md has the mean over '
        'seeds.\nYour own COCO-format data, ten lines: README.md, "Distil '
        'your own detector".'
    )


if __name__ == '__main__':
    main()
