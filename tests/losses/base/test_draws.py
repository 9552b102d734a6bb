"""Draws that depend on the seed and the step alone."""

import copy

import torch
from torch import nn

from luminet_mm.losses.base.draws import CountedDraws


class Dice(CountedDraws, nn.Module):
    def __init__(self):
        super().__init__()
        self.start_draws()


def test_draws_are_counted_and_the_seed_stays():
    torch.manual_seed(7)
    dice = Dice()
    assert [dice.next_draw() for _ in range(3)] == [(7, 0), (7, 1), (7, 2)]
    assert dice.draws.tolist() == [7, 3]


def test_a_checkpoint_continues_the_sequence():
    torch.manual_seed(7)
    dice = Dice()
    dice.next_draw()
    torch.manual_seed(8)
    other = Dice()
    other.next_draw()
    other.load_state_dict(dice.state_dict())
    assert other.next_draw() == (7, 1)


def test_a_copy_draws_the_same_on_its_own():
    dice = Dice()
    dice.next_draw()
    copied = copy.deepcopy(dice)
    assert copied.next_draw() == dice.next_draw()
    dice.next_draw()
    assert copied.next_draw()[1] == 2
