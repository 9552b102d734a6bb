"""Connectors: from one shape to the other, and what they promise."""

import copy

import pytest
import torch

from luminet_mm.connectors import KINDS, align_channels
from luminet_mm.losses import make_connector

MAPS = (2, 5, 8, 8), (2, 7, 8, 8)
VECTORS = (4, 5), (4, 7)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('shapes', [MAPS, VECTORS], ids=['maps', 'vectors'])
def test_shapes(kind, shapes):
    ours, theirs = shapes
    if kind == 'regressor' and len(ours) == 2:
        with pytest.raises(ValueError, match="use 'linear' for vectors"):
            make_connector(kind, ours, theirs)
        return
    connector = make_connector(kind, ours, theirs)
    assert connector(torch.rand(ours)).shape == theirs


@pytest.mark.parametrize(
    ('connector', 'count'),
    [
        ('linear', 5 * 7 + 7),
        ('conv_bn', 5 * 7 + 14),
        ('mlp', 5 * 7 + 7 + 7 * 7 + 7),
        (dict(type='mlp', hidden=3), 5 * 3 + 3 + 3 * 7 + 7),
        ('orthogonal', 5 * 7),
        ('regressor', 5 * 7 + 7 + 14),
    ],
)
def test_numbers_of_parameters(connector, count):
    connector = make_connector(connector, *MAPS)
    assert sum(p.numel() for p in connector.parameters()) == count


@pytest.mark.parametrize('after_relu', [True, False])
def test_the_valid_convolution_without_a_relu(after_relu):
    """What joins other sizes, with and without what limits its range."""
    shapes = (2, 5, 8, 8), (2, 7, 6, 5)
    x = torch.randn(shapes[0])
    for last_relu in (None, True, False):
        connector = make_connector(
            dict(type='regressor', last_relu=last_relu),
            *shapes,
            after_relu=after_relu,
        )
        relu = after_relu if last_relu is None else last_relu
        assert len(connector) == 2 + relu
        assert connector[0].padding == (0, 0)
        assert connector(x).shape == shapes[1]
        assert bool((connector(x) < 0).any()) != relu


def test_linear_is_the_same_on_maps_and_vectors():
    maps = make_connector('linear', *MAPS)
    vectors = make_connector('linear', *VECTORS)
    vectors.weight.data = maps.weight.data[:, :, 0, 0]
    vectors.bias.data = maps.bias.data
    x = torch.rand(MAPS[0])
    torch.testing.assert_close(
        maps(x)[:, :, 3, 2], vectors(x[:, :, 3, 2]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('optimizer', ['SGD', 'AdamW'])
def test_orthogonal_stays_so_under_weight_decay(optimizer):
    """Torch's own parametrisation turns into 0 there."""
    torch.manual_seed(0)
    connector = make_connector('orthogonal', *VECTORS)
    optim = getattr(torch.optim, optimizer)(
        connector.parameters(), lr=0.1, weight_decay=0.05
    )
    first = connector.matrix().detach().clone()
    for _ in range(20):
        optim.zero_grad()
        (
            connector(torch.rand(4, 5)) - torch.rand(4, 7)
        ).square().sum().backward()
        optim.step()
    matrix = connector.matrix().detach()
    assert (matrix - first).norm() > 0.1, 'it learns'
    torch.testing.assert_close(
        matrix.T @ matrix, torch.eye(5), rtol=0, atol=1e-5
    )
    x = torch.rand(6, 5)
    torch.testing.assert_close(
        torch.cdist(connector(x), connector(x)),
        torch.cdist(x, x),
        atol=1e-3,
        rtol=1e-3,
    )
    torch.testing.assert_close(copy.deepcopy(connector)(x), connector(x))


def test_channels_are_aligned_only_where_they_differ():
    connectors = align_channels([MAPS[0], MAPS[1]], [MAPS[1], MAPS[1]])
    assert sum(p.numel() for p in connectors[0].parameters()) == 5 * 7 + 7
    x = torch.rand(MAPS[1])
    assert connectors[1](x) is x


@pytest.mark.parametrize(
    ('connector', 'message'),
    [
        ('conv', "connector is 'conv'; set one of 'linear'"),
        (dict(hidden=3), 'connector is'),
        (dict(type='linear', hidden=3), "'linear' has no option 'hidden'"),
        (dict(type='mlp', width=3), "'mlp' has no option 'width'; it has hid"),
        (dict(type='linear', last_relu=True), "no option 'last_relu'; it has"),
        (dict(type='regressor', last_relu='no'), "last_relu is 'no'; set"),
    ],
)
def test_bad_connectors_are_named(connector, message):
    with pytest.raises(ValueError, match=message):
        make_connector(connector, *MAPS)


def test_orthogonal_needs_a_wider_teacher():
    with pytest.raises(
        ValueError, match='it has 5 channels and the student has 7'
    ):
        make_connector('orthogonal', VECTORS[1], VECTORS[0])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_every_connector_runs_in_other_types(kind, dtype):
    connector = make_connector(kind, *MAPS).to(dtype)
    out = connector(torch.rand(MAPS[0], dtype=dtype))
    assert out.dtype == dtype and out.isfinite().all()
    out.sum().backward()
