"""NORM's student: a wide linear layer after the backbone, and one back.

The two linear layers are separate in training and merged for deployment::

    neck=[
        dict(type='luminet_mm.NORMNeck', in_channels=256,
             teacher_channels=256, num_segments=8),
        dict(type='GlobalAveragePooling'),
    ]
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from luminet_mm.models.backbones.cifar_base import KAIMING_INIT
from luminet_mm.registry import MODELS


@MODELS.register_module()
class NORMNeck(BaseModule):
    r"""NORM's feature transform as a neck, before the pooling.

    .. math:: e = \mathrm{BN}(W_1 x), \quad x' = \mathrm{BN}(W_2 e) + x

    where the 1x1 convolution :math:`W_1` has ``num_segments`` times the
    teacher's channels and :math:`W_2` maps back.
    :class:`~luminet_mm.losses.norm.NORMLoss` compares :math:`e`, the signal
    ``neck.0.expand``, with the teacher's map. Checked against
    github.com/OSVAI/NORM, ``models/cifar/resnet_student.py``, at c6dfc39. For
    N = 1 that code has no such layers, which is a student without this neck.

    The neck is linear, so :meth:`switch_to_deploy` can merge a trained one
    into a single 1x1 convolution.

    Args:
        in_channels: Channels of the backbone's last map.
        teacher_channels: Channels of the teacher's last map.
        num_segments: N, the number of segments of the student's representation
            that learn the teacher's, >= 1.
        residual: Whether the input is added; False is the paper's plain form.
        deploy: Whether to build the merged form, which cannot be trained with
            NORM.
        init_cfg: As for any ``BaseModule``; the authors' by default.

    Raises:
        ValueError: ``num_segments`` is less than 1.
    """

    def __init__(
        self,
        in_channels: int,
        teacher_channels: int,
        num_segments: int = 8,
        residual: bool = True,
        deploy: bool = False,
        init_cfg: Any = KAIMING_INIT,
    ) -> None:
        super().__init__(init_cfg)
        if num_segments < 1:
            raise ValueError(
                f'NORMNeck: num_segments is {num_segments}; set 1 or more.'
            )
        self.in_channels = in_channels
        self.residual = residual
        self.deploy = deploy
        if deploy:
            self.merged = nn.Conv2d(in_channels, in_channels, 1)
            return
        wide = num_segments * teacher_channels
        self.expand = _conv_bn(in_channels, wide)
        self.contract = _conv_bn(wide, in_channels)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Transform the last map.

        Args:
            feats: The backbone's maps; the last is ``(B, in_channels, H, W)``.

        Returns:
            A map of the same shape, alone in a tuple.
        """
        x = feats[-1]
        if self.deploy:
            return (self.merged(x),)
        out = self.contract(self.expand(x))
        return (out + x if self.residual else out,)

    @torch.no_grad()
    def switch_to_deploy(self) -> None:
        """Merge the layers into one convolution, with the running statistics.

        The output in eval mode stays the same, up to rounding. The merged
        weights load into a neck with ``deploy=True``.
        """
        if self.deploy:
            return
        weight, bias = _fused(self.contract)
        first, first_bias = _fused(self.expand)
        bias = bias + weight @ first_bias
        weight = weight @ first
        if self.residual:
            weight = weight + torch.eye(self.in_channels).to(weight)
        like: Any = self.expand[0].weight
        self.merged = nn.Conv2d(self.in_channels, self.in_channels, 1)
        self.merged.to(like).load_state_dict(
            {'weight': weight[:, :, None, None], 'bias': bias}
        )
        self.merged.train(self.training).requires_grad_(like.requires_grad)
        del self.expand, self.contract
        self.deploy = True


def _conv_bn(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
    )


def _fused(layers: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Matrix and bias of a 1x1 convolution with batch norm, in float64."""
    conv: Any = layers[0]
    norm: Any = layers[1]
    weight, bias = fuse_conv_bn_weights(
        conv.weight.double(),
        None,
        norm.running_mean.double(),
        norm.running_var.double(),
        norm.eps,
        norm.weight.double(),
        norm.bias.double(),
    )
    return weight[:, :, 0, 0], bias
