"""Random choices of a loss that depend on the seed and the step alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CountedDraws(nn.Module):
    """Mixin of a loss that draws something in each step.

    What is drawn depends on the run's seed and on how often it was drawn,
    both of which are in the checkpoint. So a resumed run continues the
    sequence, and the global random state stays as it is. All ranks draw the
    same, as a distiller gives them the first rank's buffers.
    """

    draws: Tensor

    def start_draws(self) -> None:
        """Begin the sequence that belongs to the current seed."""
        # seed and number of draws
        self.register_buffer(
            'draws', torch.tensor([torch.initial_seed() % 2**62, 0])
        )
        self._drawn: list[int] | None = None  # the same, on the host

    def next_draw(self) -> tuple[int, int]:
        """The seed, and the number of this draw."""
        if self._drawn is None:
            self._drawn = self.draws.tolist()  # a GPU waits here, once
        seed, step = self._drawn
        self._drawn = [seed, step + 1]
        self.draws[1] += 1
        return seed, step

    def read_again(self) -> None:
        """Forget what the host knows of the buffer, which was changed."""
        self._drawn = None

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.read_again()
