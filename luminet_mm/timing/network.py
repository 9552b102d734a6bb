"""Estimated network times of ring and tree all-reduces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIB = 2**20


FIRST_BUCKET = 1 * MIB  # DDP's defaults


BUCKET = 25 * MIB


def ring_seconds(
    size: float, gpus: int, bandwidth: float, latency: float
) -> float:
    r"""Time of a ring all-reduce.

    .. math:: 2 (W - 1) \left(\frac{S}{W B} + \alpha\right)

    Each of :math:`W` GPUs sends :math:`2 (W - 1)` pieces of :math:`S / W`
    bytes to the next (`Patarasuk and Yuan, 2009
    <https://doi.org/10.1016/j.jpdc.2008.09.002>`_).

    Args:
        size: Bytes :math:`S` on each GPU.
        gpus: Number of GPUs.
        bandwidth: Bytes per second :math:`B` of the slowest link.
        latency: Seconds :math:`\alpha` per piece.

    Returns:
        Seconds; 0 for one GPU.

    Examples:
        >>> ring_seconds(100e6, gpus=5, bandwidth=1e9, latency=0.0)
        0.16
    """
    return 2 * (gpus - 1) * (size / gpus / bandwidth + latency)


def tree_seconds(
    size: float, gpus: int, bandwidth: float, latency: float
) -> float:
    r"""Time of a tree all-reduce, which is fast for small messages.

    .. math:: 2 \lceil \log_2 W \rceil \left(\frac SB + \alpha\right)

    Takes and returns the same as :func:`ring_seconds`.
    """
    return 2 * (gpus - 1).bit_length() * (size / bandwidth + latency)


def buckets(size: float) -> list[float]:
    """Bytes of DDP's gradient buckets, in the order in which they are sent.

    A small first one, then full ones. Ignores that DDP does not split
    parameters.

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

    Forward: a sum and a sum of squares for each class of student and teacher,
    and two row counts, in float64. Backward: the gradient of each.

    Args:
        classes: Columns of the logits, including background.
    """
    size = 8 * (2 * 2 * classes + 2)
    return size, size


@dataclass(frozen=True)
class Cluster:
    """GPUs and the links between them.

    Args:
        gpus: Total number of GPUs.
        per_node: GPUs per node.
        within: Bytes per second between two GPUs of a node.
        between: Bytes per second between two nodes, for all GPUs of a
            node together: a ring leaves a node once.
        latency: Seconds per message.
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
        """Seconds of one all-reduce of ``size`` bytes, by the faster way."""
        return min(
            way(size, self.gpus, self.bandwidth, self.latency)
            for way in (ring_seconds, tree_seconds)
        )


@dataclass(frozen=True)
class Communication:
    """Seconds of a training step that are spent on communication."""

    gradients: float
    """All buckets; they are sent during the backward pass."""
    last_bucket: float
    """Its gradients are ready last, so nothing hides it."""
    statistics: float
    """Statistics of distillation losses; the step waits for them."""

    @property
    def hidden_by(self) -> float:
        """Seconds of backward pass that hide everything that can be hidden."""
        return self.gradients - self.last_bucket

    def step(self, forward: float, backward: float) -> float:
        """Seconds of a step, given its forward and backward seconds."""
        waits = max(self.last_bucket, self.gradients - backward)
        return forward + backward + waits + self.statistics


def communication(
    cluster: Cluster, gradient_bytes: float, statistics: Sequence[float] = ()
) -> Communication:
    """Communication times of a data-parallel step.

    Args:
        cluster: The GPUs.
        gradient_bytes: Bytes of the student's gradients.
        statistics: Bytes of each collective of a loss.
    """
    times = [cluster.all_reduce(size) for size in buckets(gradient_bytes)]
    return Communication(
        gradients=sum(times),
        last_bucket=times[-1],
        statistics=sum(cluster.all_reduce(size) for size in statistics),
    )


def link_of(ranks: int, small: float, large: float, size: int) -> Cluster:
    """The network between ranks, from the times of two all-reduces.

    Args:
        ranks: Number of ranks.
        small: Seconds of an all-reduce of a few bytes.
        large: Seconds of one of ``size`` bytes.
        size: Its bytes.

    Examples:
        >>> link = link_of(4, small=4e-4, large=0.1006, size=10**7)
        >>> round(link.latency, 6), round(link.bandwidth / 1e6)
        (0.0001, 150)
        >>> round(link.all_reduce(10**7), 6)
        0.1006
    """
    latency = small / 2 / min(ranks - 1, (ranks - 1).bit_length())
    piece = max(large / 2 / (ranks - 1) - latency, 1e-9)
    bandwidth = size / ranks / piece
    return Cluster(ranks, ranks, bandwidth, bandwidth, latency)
