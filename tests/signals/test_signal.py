"""Signals: names that are looked up, tapped and read."""

import pytest
import tiny_cls
import torch
from torch import nn

from luminet_mm.signals.signal import (
    MissingSignal,
    Signal,
    read_signal,
    tap_output,
    tap_path,
    unknown_signal,
)


class Net(nn.Module):
    """A layer that runs twice, and a ReLU in place behind another."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(3, 3)
        self.last = nn.Linear(3, 3)

    def forward(self, x):
        x = self.last(self.shared(self.shared(x)))
        return x.relu_()


def test_a_module_that_runs_twice_gives_both_outputs():
    net, store = Net(), {}
    with tap_output(net.shared, store, 'shared'):
        x = torch.rand(2, 3)
        net(x)
    first, second = store['shared']
    torch.testing.assert_close(first, net.shared(x))
    torch.testing.assert_close(second, net.shared(first))


@pytest.mark.parametrize('copy', [False, True])
def test_a_copy_is_what_it_was_before_a_relu_in_place(copy):
    net, store = Net(), {}
    with tap_path(net, 'last', store, 'key', copy):
        out = net(torch.randn(20, 3))
    assert store['key'].requires_grad
    assert (store['key'] < 0).any() == copy
    torch.testing.assert_close(store['key'].relu(), out)


def test_taps_are_gone_afterwards_also_after_an_error():
    net, store = Net(), {}
    with pytest.raises(RuntimeError), tap_output(net.last, store, 'key'):
        net(torch.rand(2, 4))
    assert not net.last._forward_hooks
    assert not store  # it did not run
    with tap_output(net.last, store, 'key'):
        pass
    assert not store


def test_what_did_not_run_is_named():
    signal = Signal('backbone.aux', 'backbone', path='backbone.aux')
    with pytest.raises(MissingSignal, match=r"'backbone\.aux': that module"):
        read_signal({}, signal)
    assert read_signal({'backbone.aux': 3}, signal) == 3


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('logit', r"no signal 'logit'\..* Did you mean 'logits'\?"),
        ('shard', r"Did you mean 'shared'\?"),
        ('zzz', r"no signal 'zzz'\. It publishes backbone, logits, and"),
        ('shared.preact', r'no signal .* A stage has preact where its last'),
    ],
)
def test_an_unknown_name_has_neighbours(name, message):
    error = unknown_signal(Net(), name, 'student', ['backbone', 'logits'], '')
    assert str(error).startswith('the student (Net) has')
    with pytest.raises(ValueError, match=message):
        raise error


def test_a_map_before_an_in_place_relu_is_kept(mmpretrain_scope):
    """Stock networks run ReLU in place, on the very tensor that is tapped."""
    loss = dict(type='luminet_mm.OFDLoss', signal='backbone.bn1')
    model = tiny_cls.build(tiny_cls.distiller(loss_x=loss))
    data = tiny_cls.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    assert (model.distill.loss_x.margins < 0).any()
    signal = model.family.find(model, 'backbone.bn1', 'student')
    with model.family.record(
        model, [signal], data['inputs'], data['data_samples']
    ) as record:
        model.forward(**data, mode='loss')
    assert record.read(signal).min() < 0
    record.read(signal).sum().backward()


def test_a_level_by_its_number_is_told_the_option():
    error = unknown_signal(Net(), 'neck.0', 'student', ['neck'], '')
    assert "signal='neck' with levels=[0]" in str(error)


def test_a_suggestion_is_made_once():
    error = unknown_signal(Net(), 'lats', 'student', ['last'], '')
    assert str(error).count("'last'") == 1
