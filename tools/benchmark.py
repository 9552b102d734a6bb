"""Time a distillation step: ``python tools/benchmark.py CONFIG``.

Times side by side, in one run: the student's own step, the distillation step
and its parts, and the teacher's forward pass, plain and prepared; then
measures the memory of both steps. Images, boxes, labels and weights are
random, so neither data nor checkpoints are needed. Writes ``benchmark.json``
and ``benchmark.png``; with ``--memory`` only the first of them, and no times.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmengine.config import Config

from luminet_mm.later import Later
from luminet_mm.launch.command_line import add_arguments, load_config
from luminet_mm.launch.console import reported

# what takes seconds to import, when it is needed
timing = Later('luminet_mm.timing.benchmark')
memory = Later('luminet_mm.timing.memory')
torch = Later('torch')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config of a distillation run')
    parser.add_argument(
        '--batch-size', type=int, help="images; default: the config's"
    )
    parser.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help="default: the config's crop, 512 672 for detectors",
    )
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument(
        '--compare',
        action='store_true',
        help='also time a step with the whole teacher, as in MMRazor, '
        "and one with a second pass of the student's head",
    )
    parser.add_argument(
        '--memory', action='store_true', help='measure memory, time nothing'
    )
    parser.add_argument(
        '--device', help='default: cuda where there is a GPU, else cpu'
    )
    parser.add_argument(
        '--threads', type=int, help='CPU threads; default: what torch chooses'
    )
    add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Time, print and write."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with reported(args):
        cfg = load_config(args)
        sizes = dict(
            batch_size=args.batch_size or _batch_size(cfg),
            image_size=tuple(args.image_size or _image_size(cfg)),
            device=args.device or _device(),
        )
        if args.memory:
            result = memory.measure(cfg, **sizes)
        else:
            result = timing.benchmark(
                cfg,
                **sizes,
                rounds=args.rounds,
                warmup=args.warmup,
                compare=args.compare,
            )
        out = Path(cfg.work_dir)
        out.mkdir(parents=True, exist_ok=True)
        result = dict(config=args.config, **result)
        (out / 'benchmark.json').write_text(
            json.dumps(result, indent=1) + '\n'
        )
        if args.memory:
            print(report_memory(result['memory']))
            print(f'wrote {out}/benchmark.json')
            return
        timing.draw(result, out / 'benchmark.png')
        print(report(result))
        print(report_memory(result['memory']))
        print(f'wrote {out}/benchmark.json and benchmark.png')


def report_memory(result: dict) -> str:
    """The memory of both steps as text."""
    lines = ['memory in MiB']
    for name, parts in result.items():
        if name != 'ratios':
            each = (f'{key} {x / 2**20:.1f}' for key, x in parts.items())
            lines.append(f'  {name:34}{", ".join(each)}')
    lines += [f'  {key:62}{x:6.3f}' for key, x in result['ratios'].items()]
    return '\n'.join(lines)


def report(result: dict) -> str:
    """The times as text."""
    lines = ['milliseconds, median (quartiles)']
    for name, entry in result['seconds'].items():
        low, middle, high = (
            1000 * entry[key] for key in ('low', 'median', 'high')
        )
        lines.append(f'  {name:34}{middle:9.1f}  ({low:.1f} to {high:.1f})')
    lines.append('parts of the distillation step')
    for name, seconds in result['parts'].items():
        lines.append(f'  {name:34}{1000 * seconds:9.1f}')
    lines.append('ratios within a round')
    for name, entry in result['ratios'].items():
        lines.append(
            f'  {name:62}{entry["median"]:6.3f}  '
            f'({entry["low"]:.3f} to {entry["high"]:.3f})'
        )
    return '\n'.join(lines)


def _device() -> str:
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def _batch_size(cfg: Config) -> int:
    return (cfg.get('train_dataloader') or {}).get('batch_size', 2)


def _image_size(cfg: Config) -> tuple[int, int]:
    """The training image size of a config, if it says one."""
    if cfg.get('default_scope') == 'mmdet':
        return 512, 672
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    for transform in dataset.get('pipeline') or ():
        size = transform.get('crop_size', transform.get('scale'))
        if isinstance(size, int):
            return size, size
    return 224, 224


if __name__ == '__main__':
    main()
