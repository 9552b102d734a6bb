"""Weights that were loaded, and whether they are still there."""

import torch
from torch import nn

from luminet_mm.loading.kept import changed
from luminet_mm.loading.weights import load_weights


def loaded():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    state = nn.Sequential(*map(type_of, model)).state_dict()
    del state['2.bias']
    load_weights(model, state)
    return model


def type_of(layer):
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, layer.out_features)
    return nn.BatchNorm1d(layer.num_features)


def test_all_that_was_loaded_is_there():
    model = loaded()
    assert changed(model) == ([], 0)
    model.to(memory_format=torch.channels_last)
    model(torch.randn(8, 3))  # moves the averages of batch norm
    assert changed(model) == ([], 0)


def test_a_layer_that_was_initialised_again():
    model = loaded()
    model[0].reset_parameters()
    assert changed(model) == (['0.weight', '0.bias'], 16 / 32)


def test_sums_are_compared_and_not_the_order():
    model = loaded()
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight.flip(0))
        model[2].weight.data = model[2].weight.data.clone()
    names, _ = changed(model)
    assert names == []  # a sum: order is not seen


def test_what_was_not_loaded_may_change():
    model = loaded()
    nn.init.ones_(model[2].bias)
    assert changed(model) == ([], 0)
    assert changed(nn.Linear(2, 2)) == ([], 0)


def test_the_last_file_counts():
    model = loaded()
    load_weights(model, {k: v + 1 for k, v in model.state_dict().items()})
    assert changed(model) == ([], 0)


def test_another_precision_is_not_compared():
    model = loaded().half()
    assert changed(model) == ([], 0)


def test_nan_is_a_change():
    model = loaded()
    nn.init.constant_(model[0].weight, torch.nan)
    assert changed(model)[0] == ['0.weight']
