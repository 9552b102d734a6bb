"""Step time against the number of GPUs: estimated, not measured.

``python -m luminet_mm.timing.scaling CONFIG ...`` prints the transfer times of
gradients and statistics, and the backward time that hides them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from luminet_mm.config_types import is_type
from luminet_mm.rng import preserved_rng
from luminet_mm.signals.families import logit_names, stock_family
from luminet_mm.signals.family import Question, Size
from luminet_mm.stock import stock_config
from luminet_mm.teachers.dry_run import (
    dry_sizes,
    first_that_runs,
    noise,
    said_of,
)
from luminet_mm.timing.network import (
    Cluster,
    communication,
    luminet_statistics,
)


def step_sizes(cfg: Config) -> tuple[int, list[int]]:
    """What a config's step sends: trainable parameters and statistics.

    Args:
        cfg: Config of a distillation or of a student alone.
            Connectors and the statistics of losses other than LumiNet are not
            counted.

    Returns:
        Number of parameters, and bytes of each collective for statistics.
    """
    scope = cfg.get('default_scope', 'mmengine')
    with preserved_rng(), DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(stock_config(cfg).model).train()
        parameters = sum(
            p.numel() for p in model.parameters() if p.requires_grad
        )
        exchanges = [
            size
            for loss in (cfg.model.get('distill') or {}).values()
            if is_type(loss, 'luminet_mm.LumiNetLoss')
            for size in luminet_statistics(logit_columns(model))
        ]
    return parameters, exchanges


def logit_columns(model: nn.Module) -> int:
    """How many numbers a row of a model's logits has, from a dry run.

    Raises:
        ValueError: It is of no family, or runs on no image.
    """
    family = stock_family(model)
    if family is None:
        raise ValueError(
            f'{type(model).__name__} is not a model of any family; name the '
            'config of a student.'
        )
    model.eval()
    (first, *_) = logit_names(family, model)
    signals = [family.find(model, first, 'student')]

    def logits(size: Size) -> Any:
        images = noise(model, size)
        with torch.no_grad(), said_of('student', model, images):
            return family.dry(model, [Question(signals, signals)], images)[0]

    found = first_that_runs(
        dry_sizes([model], family.sizes([model]), None), logits
    )
    while not isinstance(found, Tensor):  # levels, layers
        found = found[0]
    return found.shape[-1]


def table(
    rows: Sequence[tuple[str, int, Sequence[float]]],
    clusters: Sequence[Cluster],
    bytes_each: int = 4,
    compute: tuple[float, float] | None = None,
) -> str:
    """The estimate as a table.

    Args:
        rows: Name, number of
            parameters and statistics of each model.
        clusters: The columns' GPUs and networks.
        bytes_each: Bytes per gradient value, 4 or 2.
        compute: Measured forward and backward
            seconds on one GPU; adds the step time and its efficiency.
    """
    head = ['student', 'GPUs', 'slowest link', 'gradients', 'last bucket']
    head += ['statistics', 'backward that hides them']
    if compute:
        head += ['step', 'efficiency']
    lines = [head, ['---'] * len(head)]
    for name, parameters, statistics in rows:
        for cluster in clusters:
            plan = communication(cluster, parameters * bytes_each, statistics)
            cells = [
                name,
                f'{cluster.gpus}',
                f'{8 * cluster.bandwidth / 1e9:g} Gb/s',
                *(
                    f'{1e3 * seconds:.2f} ms'
                    for seconds in (
                        plan.gradients,
                        plan.last_bucket,
                        plan.statistics,
                        plan.hidden_by,
                    )
                ),
            ]
            if compute:
                step = plan.step(*compute)
                cells += [
                    f'{1e3 * step:.1f} ms',
                    f'{sum(compute) / step:.1%}',
                ]
            lines.append(cells)
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m luminet_mm.timing.scaling',
        description='Estimate step time against the number of GPUs.',
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--gpus', type=int, nargs='+', default=[8, 16, 64], help='on all nodes'
    )
    parser.add_argument('--per-node', type=int, default=8, help='GPUs')
    parser.add_argument(
        '--within',
        type=float,
        default=300,
        help='GB/s between GPUs within a node',
    )
    parser.add_argument(
        '--between',
        type=float,
        nargs='+',
        default=[25, 50, 100, 200, 400],
        help='Gb/s (bits) between nodes',
    )
    parser.add_argument(
        '--latency', type=float, default=10, help='microseconds per message'
    )
    parser.add_argument(
        '--bytes', type=int, default=4, help='per gradient: 4 or 2'
    )
    parser.add_argument(
        '--compute',
        type=float,
        nargs=2,
        metavar=('FORWARD', 'BACKWARD'),
        help='measured milliseconds on one GPU: adds the step time',
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    args = parse_args(arguments)
    rows = []
    for path in args.configs:
        cfg = Config.fromfile(path)
        parameters, statistics = step_sizes(cfg)
        rows.append((Path(path).stem, parameters, statistics))
        print(
            f'{path}: {parameters:,} trainable parameters, '
            f'{parameters * args.bytes:,} bytes of gradients, '
            f'{sum(statistics):,} bytes of statistics'
        )
    clusters = []
    for gpus in args.gpus:
        # the network does not matter on a single node
        networks = args.between if gpus > args.per_node else args.between[:1]
        clusters += [
            Cluster(
                gpus,
                args.per_node,
                args.within * 1e9,
                between * 1e9 / 8,
                args.latency * 1e-6,
            )
            for between in networks
        ]
    compute = args.compute and tuple(ms / 1e3 for ms in args.compute)
    print('\nEstimated, not measured:\n')
    print(table(rows, clusters, args.bytes, compute))


if __name__ == '__main__':
    main()
