"""Step time against the number of GPUs, on paper, not measured.

``python -m luminet_mm.timing.scaling CONFIG ...`` prints how long gradients
and statistics travel, and which backward pass hides them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.config_types import is_type
from luminet_mm.rng import preserved_rng
from luminet_mm.stock import stock_config

MIB = 2**20
FIRST_BUCKET, BUCKET = 1 * MIB, 25 * MIB  # DDP's defaults


def ring_seconds(
    size: float, gpus: int, bandwidth: float, latency: float
) -> float:
    r"""Time of a ring all-reduce.

    .. math:: 2 (W - 1) \left(\frac{S}{W B} + \alpha\right)

    Each of :math:`W` GPUs sends :math:`2 (W - 1)` pieces of :math:`S / W`
    bytes to the next (`Patarasuk and Yuan, 2009
    <https://doi.org/10.1016/j.jpdc.2008.09.002>`_).

    Args:
        size: Bytes :math:`S` that each GPU has.
        gpus: How many there are.
        bandwidth: Bytes per second :math:`B` of the slowest link.
        latency: Seconds :math:`\alpha` of one piece.

    Returns:
        Seconds, 0 for one GPU.

    Examples:
        >>> ring_seconds(100e6, gpus=5, bandwidth=1e9, latency=0.0)
        0.16
    """
    return 2 * (gpus - 1) * (size / gpus / bandwidth + latency)


def tree_seconds(
    size: float, gpus: int, bandwidth: float, latency: float
) -> float:
    r"""Time of an all-reduce up and down a tree: short for small messages.

    .. math:: 2 \lceil \log_2 W \rceil \left(\frac SB + \alpha\right)

    Arguments and value are those of :func:`ring_seconds`.
    """
    return 2 * (gpus - 1).bit_length() * (size / bandwidth + latency)


def buckets(size: float) -> list[float]:
    """Bytes of DDP's gradient buckets, in the order in which they are sent.

    A small first one, then full ones; that parameters are not split is left
    out.

    Examples:
        >>> [round(each / MIB) for each in buckets(60 * MIB)]
        [1, 25, 25, 9]
    """
    sizes = [min(size, FIRST_BUCKET)]
    while (rest := size - sum(sizes)) > 0:
        sizes.append(min(rest, BUCKET))
    return sizes


def luminet_statistics(classes: int) -> tuple[int, int]:
    """Bytes of one LumiNet loss's statistics, forward and backward.

    For each class of student and teacher a sum and a sum of squares, and two
    numbers of rows, in float64; backward the gradient of each.

    Args:
        classes: Columns of the logits; background counts.
    """
    size = 8 * (2 * 2 * classes + 2)
    return size, size


@dataclass(frozen=True)
class Cluster:
    """GPUs and what connects them.

    Args:
        gpus: Number of all GPUs.
        per_node: GPUs of a node.
        within: Bytes per second between two GPUs of a node.
        between: Bytes per second between two nodes, for all GPUs of a node
            together: a ring leaves a node once.
        latency: Seconds of one message.
    """

    gpus: int
    per_node: int
    within: float
    between: float
    latency: float

    @property
    def bandwidth(self) -> float:
        """Bytes per second of the ring's slowest link."""
        if self.gpus <= self.per_node:
            return self.within
        return min(self.within, self.between)

    def all_reduce(self, size: float) -> float:
        """Seconds of one all-reduce of so many bytes, the faster way."""
        return min(
            way(size, self.gpus, self.bandwidth, self.latency)
            for way in (ring_seconds, tree_seconds)
        )


@dataclass(frozen=True)
class Communication:
    """Seconds of a training step that are spent on communication."""

    gradients: float
    """All buckets; they are sent while the backward pass goes on."""
    last_bucket: float
    """Its gradients are the last to be there: nothing hides it."""
    statistics: float
    """Of distillation losses; the step waits for them."""

    @property
    def hidden_by(self) -> float:
        """Seconds of backward pass that hide all that can be hidden."""
        return self.gradients - self.last_bucket

    def step(self, forward: float, backward: float) -> float:
        """Seconds of a step whose own computing takes so long."""
        waits = max(self.last_bucket, self.gradients - backward)
        return forward + backward + waits + self.statistics


def communication(
    cluster: Cluster, gradient_bytes: float, statistics: Sequence[float] = ()
) -> Communication:
    """What a data-parallel step sends.

    Args:
        cluster: The GPUs.
        gradient_bytes: Of the student's trainable parameters.
        statistics: Bytes of each exchange of a loss.
    """
    times = [cluster.all_reduce(size) for size in buckets(gradient_bytes)]
    return Communication(
        gradients=sum(times),
        last_bucket=times[-1],
        statistics=sum(cluster.all_reduce(size) for size in statistics),
    )


def step_sizes(cfg: Config) -> tuple[int, list[int]]:
    """What a config's step sends: trainable parameters, statistics.

    Args:
        cfg: A distillation or a student's own. Connectors and the statistics
            of other losses than LumiNet are not counted.

    Returns:
        Number of parameters, and bytes of each exchange of statistics.
    """
    scope = cfg.get('default_scope', 'mmengine')
    with preserved_rng(), DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(stock_config(cfg).model).train()
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if 'roi_head' in cfg.model:
        head = cfg.model.roi_head.bbox_head
        head = head[0] if isinstance(head, list) else head
        classes = head.num_classes + 1
    else:
        classes = cfg.model.head.num_classes
    exchanges = [
        size
        for loss in (cfg.model.get('distill') or {}).values()
        if is_type(loss, 'luminet_mm.LumiNetLoss')
        for size in luminet_statistics(classes)
    ]
    return parameters, exchanges


def table(
    rows: Sequence[tuple[str, int, Sequence[float]]],
    clusters: Sequence[Cluster],
    bytes_each: int = 4,
    compute: tuple[float, float] | None = None,
) -> str:
    """The plan as a table.

    Args:
        rows: Name, number of parameters and statistics of each model.
        clusters: The columns' GPUs and networks.
        bytes_each: Of a gradient, 4 or 2.
        compute: Seconds of forward and backward of one GPU, as measured; adds
            the step and its efficiency.
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
        description='Step time against the number of GPUs, on paper.',
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--gpus', type=int, nargs='+', default=[8, 16, 64], help='of all nodes'
    )
    parser.add_argument('--per-node', type=int, default=8, help='GPUs')
    parser.add_argument(
        '--within',
        type=float,
        default=300,
        help='GB/s from GPU to GPU within a node',
    )
    parser.add_argument(
        '--between',
        type=float,
        nargs='+',
        default=[25, 50, 100, 200, 400],
        help='Gb/s (bits) from node to node',
    )
    parser.add_argument(
        '--latency', type=float, default=10, help='microseconds of a message'
    )
    parser.add_argument(
        '--bytes', type=int, default=4, help='of a gradient: 4, or 2'
    )
    parser.add_argument(
        '--compute',
        type=float,
        nargs=2,
        metavar=('FORWARD', 'BACKWARD'),
        help='milliseconds on one GPU, as you measured them: adds the step',
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
        # the network does not matter within a node
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
    print('\nOn paper, not measured:\n')
    print(table(rows, clusters, args.bytes, compute))


if __name__ == '__main__':
    main()
