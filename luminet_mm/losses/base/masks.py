"""Receptive tokens of MasKD: the masks that they find in maps."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from luminet_mm.loading.checkpoint import get_state_dict, load_checkpoint
from luminet_mm.losses.base.tensors import working_dtype

PREFIX = 'masks.'
"""Where a first stage's checkpoint has the masks."""
EPS = 1e-12


def token_masks(maps: Tensor, tokens: Tensor) -> Tensor:
    """How much each token sees of each position.

    Args:
        maps: ``(B, C, H, W)``.
        tokens: ``(K, C)``.

    Returns:
        ``(B, K, H, W)``, from 0 to 1.

    Examples:
        >>> import torch
        >>> token_masks(torch.zeros(2, 3, 4, 4), torch.ones(6, 3)).unique()
        tensor([0.5000])
    """
    seen = torch.einsum('kc,bchw->bkhw', tokens.to(maps.dtype), maps)
    return seen.sigmoid()


def dice_loss(masks: Tensor) -> Tensor:
    r"""How much masks overlap: the mean Dice coefficient of two of an image.

    .. math:: \mathrm{mean}_{i, a \ne b}
              \frac{2 \langle M_{ia}, M_{ib} \rangle}
                   {|M_{ia}|^2 + |M_{ib}|^2}

    Args:
        masks: ``(B, K, H, W)``.

    Returns:
        Scalar; 0 for one mask.

    Examples:
        >>> import torch
        >>> dice_loss(torch.tensor([[[[1., 0.]], [[1., 0.]]]]))
        tensor(1.)
    """
    rows = masks.flatten(2)
    squares = rows.square().sum(dim=2) + EPS
    products = torch.bmm(rows, rows.transpose(1, 2))
    pairs = 2 * products / (squares[:, :, None] + squares[:, None])
    count = rows.shape[1]
    if count < 2 or not len(rows):
        return 0 * rows.sum()
    own = pairs.diagonal(dim1=1, dim2=2).sum()
    return (pairs.sum() - own) / (len(rows) * count * (count - 1))


class MaskModule(nn.Module):
    """The tokens of one level, and what weighs their masks.

    Args:
        channels: Of the teacher's map.
        num_tokens: K.
        weighted: Whether masks have weights, from a 3x3 convolution, the mean
            over positions, a 1x1 convolution and a softmax.

    Examples:
        >>> import torch
        >>> module = MaskModule(channels=4, num_tokens=3)
        >>> maps, dice = module(torch.rand(2, 4, 8, 8))
        >>> maps.shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(
        self, channels: int, num_tokens: int = 6, weighted: bool = True
    ) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.empty(num_tokens, channels))
        nn.init.normal_(self.mask_token, std=0.01)
        if weighted:
            self.prob = nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(channels, num_tokens, 1),
            )

    def weights(self, maps: Tensor) -> Tensor | None:
        """Weights of the masks, ``(B, K)``; None where they have none."""
        if not hasattr(self, 'prob'):
            return None
        return self.prob(maps).flatten(1).softmax(dim=1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """What the masks leave of a map: what a detector sees when they learn.

        Args:
            maps: ``(B, C, H, W)``.

        Returns:
            Maps of the same shape, and how much the masks overlap.
        """
        masks = token_masks(maps, self.mask_token)
        weights = self.weights(maps)
        share = masks
        if weights is not None:
            share = masks * weights[:, :, None, None].to(masks.dtype)
        return maps * share.sum(dim=1, keepdim=True), dice_loss(masks)


def as_buffers(modules: nn.ModuleList) -> nn.ModuleList:
    """Make parameters buffers: saved and moved, and never trained.

    Args:
        modules: Changed in place.

    Returns:
        The same.
    """
    for module in modules.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach().clone())
    return modules


def random_masks(channels: Sequence[int], num_tokens: int) -> nn.ModuleList:
    """Masks as they are before they learn, of each level."""
    return nn.ModuleList(MaskModule(each, num_tokens) for each in channels)


def read_masks(
    path: str | os.PathLike,
    channels: Sequence[int],
    levels: Sequence[int] | None = None,
) -> nn.ModuleList:
    """The masks that a first stage wrote.

    Args:
        path: Its checkpoint.
        channels: Of the teacher's maps that are compared.
        levels: Their indices; all levels in order by default.

    Raises:
        ValueError: If the file has no masks for such maps.
    """
    state = {
        key.removeprefix(PREFIX): value
        for key, value in get_state_dict(load_checkpoint(path)).items()
        if key.startswith(PREFIX)
    }
    count = 1 + max((int(key.partition('.')[0]) for key in state), default=-1)
    modules = []
    for level, width in zip(
        levels or range(len(channels)), channels, strict=True
    ):
        index = level % count if count else level
        own = {
            key.partition('.')[2]: value
            for key, value in state.items()
            if key.startswith(f'{index}.')
        }
        tokens = own.get('mask_token')
        if tokens is None or tokens.shape[1:] != (width,):
            found = 'none' if tokens is None else f'{tuple(tokens.shape)}'
            raise ValueError(
                f'{os.fspath(path)} has no tokens of {width} channels for '
                f"level {index} of the teacher's maps (found: {found})."
            )
        weighted = any(key.startswith('prob.') for key in own)
        module = MaskModule(width, len(tokens), weighted)
        module.to(working_dtype(tokens)).load_state_dict(own)
        modules.append(module)
    return nn.ModuleList(modules)
