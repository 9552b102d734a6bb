"""Classify single cells of a map, for methods that pool it in regions."""

from __future__ import annotations

from mmengine.model import BaseModel
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.necks import GlobalAveragePooling
from torch import Tensor, nn
from torch.nn import functional as F

from luminet_mm.models.cuts import NetworkPart


class PooledHead(NetworkPart):
    """A classifier that pools its last map and has one linear layer.

    Nothing here is a module, so the network is not registered in the loss
    that uses it. The layer is looked up when it runs, so a replaced one is
    used.

    Args:
        model: The classifier.
        whose: ``student`` or ``teacher``, for errors.
        shared: See :class:`~luminet_mm.models.cuts.NetworkPart`.

    Raises:
        ValueError: If its logits are anything but a linear layer of the mean
            over the map.
    """

    def __init__(
        self, model: BaseModel, whose: str, shared: bool = False
    ) -> None:
        super().__init__(model, shared)
        neck = getattr(model, 'neck', None)
        head = getattr(model, 'head', None)
        if not (
            isinstance(model, ImageClassifier)
            and _pools(neck)
            and isinstance(head, LinearClsHead)
            and type(head).forward is LinearClsHead.forward
            and type(head).pre_logits is LinearClsHead.pre_logits
        ):
            raise ValueError(
                f'the {whose} ({type(model).__name__}, neck '
                f'{type(neck).__name__}, head {type(head).__name__}) does '
                'not classify the mean over its last map by one linear '
                'layer. An ImageClassifier with the neck '
                'GlobalAveragePooling and the head LinearClsHead does.'
            )

    @property
    def num_classes(self) -> int:
        """The number of classes of its layer."""
        return self.model.head.fc.out_features

    def classify(self, cells: Tensor) -> Tensor:
        """Logits of cells, in their precision.

        Args:
            cells: ``(..., C)``.

        Returns:
            ``(..., classes)``.
        """
        layer = self.model.head.fc
        bias = None if layer.bias is None else layer.bias.to(cells)
        return F.linear(cells, layer.weight.to(cells), bias)


def _pools(neck: nn.Module | None) -> bool:
    """Whether a neck takes the mean over a map, and does nothing else."""
    return (
        isinstance(neck, GlobalAveragePooling)
        and type(neck).forward is GlobalAveragePooling.forward
        and isinstance(neck.gap, nn.AdaptiveAvgPool2d)
    )
