"""Vision transformers whose patch embedding is one or two stems."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.transformer import PatchEmbed
from mmengine.model import BaseModule, ModuleList, Sequential
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn

from luminet_mm.models.backbones.rednet import rednet_stem
from luminet_mm.registry import MODELS

STEM_CHANNELS = 64


def conv_stem(in_channels: int = 3) -> nn.Sequential:
    """A 7x7 convolution of stride 2 and two 3x3 ones, 64 channels each.

    Each is followed by batch norm and ReLU.
    """
    norm_cfg = dict(type='BN')
    return nn.Sequential(
        ConvModule(
            in_channels,
            STEM_CHANNELS,
            7,
            stride=2,
            padding=3,
            norm_cfg=norm_cfg,
        ),
        *(
            ConvModule(
                STEM_CHANNELS, STEM_CHANNELS, 3, padding=1, norm_cfg=norm_cfg
            )
            for _ in range(2)
        ),
    )


class StemEmbed(BaseModule):
    r"""Embed images into patch tokens and distillation tokens with stems.

    Each stem halves the image; its map is projected patch by patch to tokens
    :math:`z^k`. With several stems the patch tokens are summed. The
    distillation token of a stem is the mean of its own tokens ("token
    inductive bias alignment"):

    .. math:: \Big[\mathrm{mean}_n\, z^1_n,\; \ldots,\;
              \mathrm{mean}_n\, z^K_n,\; \sum_k z^k_1,\; \ldots,\;
              \sum_k z^k_N\Big]

    Args:
        stems: Modules that map images to 64 channels at half the size.
        embed_dims: Channels of a token.
        patch_size: Height and width of a patch, even.
        img_size: Image size of the position embeddings.

    Raises:
        ValueError: The patch size is odd.
    """

    def __init__(
        self,
        stems: Sequence[nn.Module],
        embed_dims: int,
        patch_size: int,
        img_size: int | tuple[int, int],
    ) -> None:
        # As in the authors' code: normal, variance 2 / fan_in.
        super().__init__(
            init_cfg=dict(type='Kaiming', layer='Conv2d', mode='fan_in')
        )
        if patch_size % 2:
            raise ValueError(
                f'patch_size is {patch_size}; a stem has a stride of 2, so '
                'set an even number.'
            )
        height, width = (
            (img_size, img_size) if isinstance(img_size, int) else img_size
        )
        self.stems = ModuleList(
            Sequential(
                stem,
                PatchEmbed(
                    in_channels=STEM_CHANNELS,
                    embed_dims=embed_dims,
                    kernel_size=patch_size // 2,
                    stride=patch_size // 2,
                    input_size=(-(-height // 2), -(-width // 2)),
                ),
            )
            for stem in stems
        )
        self.init_out_size = self.stems[0][1].init_out_size

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images.

        Args:
            x: Images, ``(B, 3, H, W)``.

        Returns:
            Tokens ``(B, K + N, D)`` of ``K`` stems and ``N`` patches, and the
            number of patches in height and width.
        """
        tokens = []
        for stem in self.stems:
            values, size = stem(x)
            tokens.append(values)
        means = [each.mean(dim=1, keepdim=True) for each in tokens]
        return torch.cat([*means, torch.stack(tokens).sum(dim=0)], 1), size


@MODELS.register_module()
class ConvStemViT(VisionTransformer):
    """DeiT with a convolutional stem, whose mean is the distillation token.

    The student of `Understanding the Role of the Projector in Knowledge
    Distillation <https://arxiv.org/abs/2303.11098>`_ and of `VkD
    <https://arxiv.org/abs/2403.06213>`_. It differs from DeiT in the patch
    embedding (:func:`conv_stem` and an 8x8 projection of stride 8), and its
    distillation token is not a parameter. Checked against
    github.com/roymiles/Simple-Recipe-Distillation, ``deit/models.py``, at
    facc946, and github.com/roymiles/VkD, ``models/deit.py``, at 0c9cc5e.

    The output is the pair of class token and distillation token, as in
    MMPretrain's ``DistilledVisionTransformer``. The signal ``backbone.ln1``
    has all tokens, ``(B, 2 + N, D)``; losses skip the first two with
    ``extra_tokens=2``.

    Args:
        arch: As for MMPretrain's ``VisionTransformer``.
        img_size: Height and width.
        patch_size: Height and width of a patch, even.
        in_channels: Channels of the image.
        kwargs: As for MMPretrain's ``VisionTransformer``, except
            ``patch_cfg``.

    Raises:
        ValueError: The patch size is odd.
    """

    num_extra_tokens = 2  # class token and a distillation token for each stem
    make_stems: tuple[Callable[[int], nn.Module], ...] = (conv_stem,)

    def __init__(
        self,
        arch: str | dict = 'deit-tiny',
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        **kwargs,
    ) -> None:
        super().__init__(arch, img_size, patch_size, in_channels, **kwargs)
        self.patch_embed = StemEmbed(
            [make(in_channels) for make in self.make_stems],
            self.embed_dims,
            patch_size,
            img_size,
        )

    def _format_output(self, x: Tensor, hw: tuple[int, int]):
        if self.out_type == 'cls_token':
            return tuple(x[:, : self.num_extra_tokens].unbind(dim=1))
        return super()._format_output(x, hw)


@MODELS.register_module()
class CivT(ConvStemViT):
    """Cross inductive bias transformer: two stems, two distillation tokens.

    `Co-advise: Cross Inductive Bias Distillation
    <https://arxiv.org/abs/2106.12378>`_. Checked against
    github.com/OliverRensu/co-advise, ``models.py``, at 8049918. Its second
    stem, besides :func:`conv_stem`, is RedNet's with its involution. The
    tokens are class, convolution, involution, and the patches, which are sums
    over both stems.
    """

    num_extra_tokens = 3
    make_stems = (conv_stem, rednet_stem)
