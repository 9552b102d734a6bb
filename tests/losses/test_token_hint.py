"""Token hints: tokens as maps, resized to a CNN's, and what they refuse."""

import pytest
import torch
from losses.contracts import FeatureContract
from torch.nn import functional as F

from luminet_mm.losses import TokenHintLoss, hint_loss, token_hint_loss


class TestTokenHint(FeatureContract):
    loss = TokenHintLoss
    options = {'extra_tokens': 0}
    shapes = [(6, 4, 4), (6, 4, 3)], [(6, 7, 4, 4), (6, 2, 1, 1)]


def maps(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_a_resize_by_two_by_hand():
    """Between two values a quarter and three quarters; at the edge itself."""
    student = torch.tensor([[[[0.0, 4.0]]]]).expand(1, 1, 2, 2)
    resized = torch.tensor([0.0, 1.0, 3.0, 4.0]).expand(1, 1, 4, 4)
    assert token_hint_loss(student, resized) == 0
    wrong = resized + torch.tensor([2.0, 0.0, 0.0, 0.0])
    assert token_hint_loss(student, wrong) == 1


def test_of_one_size_it_is_fitnets():
    one, other = maps(2, 3, 4, 4), maps(2, 3, 4, 4, seed=1)
    torch.testing.assert_close(
        token_hint_loss(one, other), hint_loss(one, other)
    )


def test_tokens_lie_row_by_row_behind_the_extra_ones():
    tokens = maps(2, 2 + 6, 4)
    image = tokens[:, 2:].reshape(2, 2, 3, 4).movedim(3, 1)
    teacher = maps(2, 5, 4, 6, seed=1)
    loss = TokenHintLoss(extra_tokens=2, grid=[2, 3])
    loss.build(tokens, teacher).double()
    aligned = F.interpolate(loss.align[0](image), size=(4, 6), mode='bilinear')
    torch.testing.assert_close(
        loss(tokens, teacher), hint_loss(aligned, teacher)
    )
    # whatever the extra tokens are
    other = torch.cat([maps(2, 2, 4, seed=2), tokens[:, 2:]], dim=1)
    assert loss(other, teacher) == loss(tokens, teacher)


def test_it_learns_a_teacher_that_sees_the_same():
    """A linear map of the student's tokens can be met exactly."""
    tokens = maps(8, 5, 4)
    image = tokens[:, 1:].transpose(1, 2).unflatten(2, (2, 2))
    teacher = torch.einsum('bchw,dc->bdhw', image, maps(3, 4, seed=1)) + 0.5
    torch.manual_seed(0)
    loss = TokenHintLoss().build(tokens, teacher).double()
    optim = torch.optim.Adam(loss.parameters(), lr=0.1)
    before = loss(tokens, teacher).item()
    for _ in range(200):
        optim.zero_grad()
        loss(tokens, teacher).backward()
        optim.step()
    assert loss(tokens, teacher) < 1e-4 * before


def test_what_is_not_a_grid_is_refused():
    loss = TokenHintLoss(extra_tokens=2)
    teacher = maps(2, 5, 4, 4)
    with pytest.raises(
        ValueError, match='3 patches do not form a grid of 1 x'
    ):
        loss.build(maps(2, 5, 4), teacher)
    with pytest.raises(ValueError, match='Set grid=.* or extra_tokens'):
        loss.build(maps(2, 1, 4), maps(2, 1, 4))
    for bad in (-1, 1.5, True):
        with pytest.raises(ValueError, match='extra_tokens is'):
            TokenHintLoss(extra_tokens=bad)
    with pytest.raises(ValueError, match=r'grid is \(0, 3\)'):
        TokenHintLoss(grid=(0, 3))
