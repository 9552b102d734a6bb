"""What is drawn inside leaves the random state as it was."""

import random

import numpy as np
import pytest
import torch

from luminet_mm.rng import kept_rng, preserved_rng


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize('keep', [preserved_rng, kept_rng])
def test_every_generator_goes_on_where_it_was(keep):
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = draw()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    with keep():
        assert draw() == expected
        draw()
    assert draw() == expected


@pytest.mark.parametrize('keep', [preserved_rng, kept_rng])
def test_after_an_error_too(keep):
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(KeyError):
        with keep():
            draw()
            raise KeyError
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_gpu_is_not_asked_for_each_batch(monkeypatch):
    def asked(*_, **__):
        raise AssertionError('it was asked')

    monkeypatch.setattr(torch.cuda, 'get_rng_state', asked)
    monkeypatch.setattr(torch.cuda, 'device_count', asked)
    with kept_rng():
        draw()
