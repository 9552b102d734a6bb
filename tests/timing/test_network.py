"""Seconds that gradients and statistics travel: rings, trees, buckets."""

import doctest

import pytest
import torch

from luminet_mm import distributed
from luminet_mm.losses import LumiNetLoss, luminet
from luminet_mm.timing import network
from luminet_mm.timing.network import (
    MIB,
    Cluster,
    Communication,
    buckets,
    communication,
    luminet_statistics,
    ring_seconds,
    tree_seconds,
)


def cluster(gpus, between=1e9, latency=0.0):
    return Cluster(gpus, 8, within=100e9, between=between, latency=latency)


def test_docstring_examples():
    result = doctest.testmod(network)
    assert result.attempted and not result.failed


def test_ring():
    assert ring_seconds(1e9, 1, 1e9, 1.0) == 0
    assert ring_seconds(1e9, 2, 1e9, 0.0) == 1.0
    assert ring_seconds(0, 5, 1e9, 0.5) == 4.0
    # ever more GPUs: twice the bytes over the bandwidth
    assert ring_seconds(1e9, 10**6, 1e9, 0.0) == pytest.approx(2, rel=1e-5)


def test_small_messages_go_up_and_down_a_tree():
    assert tree_seconds(1e9, 1, 1e9, 1.0) == 0
    assert tree_seconds(0, 8, 1e9, 0.5) == 2 * 3 * 0.5
    assert tree_seconds(0, 9, 1e9, 0.5) == 2 * 4 * 0.5
    many = cluster(64, latency=1e-5)
    assert many.all_reduce(1) == tree_seconds(1, 64, 1e9, 1e-5)
    assert many.all_reduce(1e9) == ring_seconds(1e9, 64, 1e9, 1e-5)


def test_the_network_counts_from_the_second_node_on():
    assert cluster(8).bandwidth == 100e9
    assert cluster(9).bandwidth == 1e9
    assert cluster(16, between=400e9).bandwidth == 100e9


@pytest.mark.parametrize('size', [1000, MIB, 26 * MIB, 300 * MIB + 7])
def test_buckets_hold_everything(size):
    sizes = buckets(size)
    assert sum(sizes) == size
    assert sizes[0] <= MIB and max(sizes) <= 25 * MIB and min(sizes) > 0


def test_the_backward_pass_hides_all_but_the_last_bucket():
    plan = communication(cluster(16), 60 * MIB, [0])
    assert plan.gradients == pytest.approx(60 * MIB / 1e9 * 2 * 15 / 16)
    assert plan.last_bucket == pytest.approx(9 * MIB / 1e9 * 2 * 15 / 16)
    alone = plan.step(1.0, plan.hidden_by)
    assert alone == pytest.approx(1.0 + plan.hidden_by + plan.last_bucket)
    assert plan.step(1.0, 5.0) == pytest.approx(6.0 + plan.last_bucket)
    assert plan.step(1.0, 0.0) == pytest.approx(1.0 + plan.gradients)


def test_statistics_are_waited_for():
    plan = Communication(gradients=2.0, last_bucket=1.0, statistics=0.5)
    assert plan.step(3.0, 4.0) == 8.5


def test_statistics_are_what_luminet_sends(monkeypatch):
    """Its collectives, counted, of a process that believes in another."""
    sent = []
    for module in (distributed, luminet):
        monkeypatch.setattr(module, 'world_size', lambda: 2)
    monkeypatch.setattr(
        distributed.dist,
        'all_reduce',
        lambda tensor: sent.append(tensor.numel() * tensor.element_size()),
    )
    student = torch.randn(6, 5, requires_grad=True)
    LumiNetLoss()(student, torch.randn(6, 5)).backward()
    assert tuple(sent) == luminet_statistics(classes=5)
