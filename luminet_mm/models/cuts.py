"""Run networks in parts: a classifier from map to map, an RoI head on maps.

For methods that send one network's features through another's layers. Nothing
here is a module, so neither network is registered in the loss that uses it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmengine.model import BaseModel
from mmpretrain.models import ImageClassifier
from mmpretrain.models.backbones import ResNet, ResNet_CIFAR
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.models.backbones.cifar_base import CIFARBackbone
from luminet_mm.models.backbones.cifar_wide_resnet import CIFARWideResNet
from luminet_mm.models.backbones.mobilenet_v1 import MobileNetV1


class NetworkPart:
    """A network that a loss runs without owning it.

    Args:
        model: The network.
        shared: Whether a deep copy (EMA) shares the network, as a copied
            distiller shares its teacher. Otherwise the copied loss runs the
            copied network.
    """

    def __init__(self, model: BaseModel, shared: bool) -> None:
        self.model = model
        self.shared = shared

    def __deepcopy__(self, memo: dict) -> NetworkPart:
        twin = copy.copy(self)
        memo[id(self)] = twin
        if not self.shared:
            # if the whole distiller is copied, `memo` has the network's copy
            twin.model = copy.deepcopy(self.model, memo)
        return twin


class Stages(NetworkPart):
    """A classifier that continues from one of its maps.

    It supports MMPretrain's ResNets, MobileNetV1 and the CIFAR backbones in
    :mod:`luminet_mm.models`. Modules are looked up when they run, so replaced
    modules (SyncBN) are used.

    Args:
        model: The classifier.
        names: Signals, as in a config: dotted paths of its maps in forward
            order, then ``logits``.
        whose: ``student`` or ``teacher``, for errors.
        shared: See :class:`NetworkPart`.

    Raises:
        ValueError: If the classifier cannot be cut there.
    """

    def __init__(
        self,
        model: BaseModel,
        names: Sequence[str],
        whose: str,
        shared: bool = False,
    ) -> None:
        super().__init__(model, shared)
        chain, ends = _chain(model, whose)
        *cuts, last = names
        places = [ends.get(name, -1) for name in cuts]
        known = -1 not in places and last == 'logits' and bool(cuts)
        if not known or places != sorted(set(places)):
            raise ValueError(
                f'the {whose} is to be cut at {list(names)}; name maps in '
                "forward order, then 'logits'. It can be cut at "
                f'{", ".join(ends)}.'
            )
        places.append(len(chain))
        self.parts = [chain[a:b] for a, b in zip(places, places[1:])]

    def step(self, index: int, maps: Tensor) -> Tensor:
        """Run the network from one cut's map to the next one's.

        Args:
            index: Index of the map among the cuts.
            maps: ``(B, C, H, W)``.
        """
        modules = [self.model.get_submodule(p) for p in self.parts[index]]
        x = maps.to(next(self.model.backbone.parameters()).dtype)
        if modules and getattr(modules[0], 'inplace', False):
            x = x.clone()  # the map is also compared
        with batch_statistics(*modules):
            for module in modules:
                x = module(x)
        return x

    def logits(self, maps: Tensor) -> Tensor:
        """Classify the map of the last cut, ``(B, C, H, W)``."""
        last = self.step(len(self.parts) - 1, maps)
        rows = len(last)
        if not rows:  # pooling cannot infer the width of an empty batch
            last = torch.cat([last, last.new_zeros(2, *last.shape[1:])])
        x: Any = (last,)
        model = self.model
        tail = [model.neck, model.head] if model.with_neck else [model.head]
        with batch_statistics(*tail):
            for module in tail:
                x = module(x)
        return x[:rows]


def _chain(model: BaseModel, whose: str) -> tuple[list[str], dict[str, int]]:
    """Modules that run one after the other, up to a classifier's neck.

    Returns:
        Their paths in that order, and for each possible cut the number of
        modules before it.
    """
    backbone: Any = getattr(model, 'backbone', None)
    stages: list[str] | None
    if not isinstance(model, ImageClassifier) or not model.with_head:
        stages = None
    elif isinstance(backbone, CIFARWideResNet):
        stages = ['stem', 'layer1', 'layer2', 'layer3']
        stages += ['bn', 'layer3.preact', 'relu']
        if max(backbone.out_indices) != 4:
            stages = None
    elif isinstance(backbone, CIFARBackbone):
        stages = [*backbone.stages][: max(backbone.out_indices) + 1]
    elif isinstance(backbone, MobileNetV1):
        last = max(backbone.out_indices)
        stages = [f'layer{i}' for i in range(1, last + 2)]
    elif type(backbone).forward in (ResNet.forward, ResNet_CIFAR.forward):
        stages = backbone.res_layers[: max(backbone.out_indices) + 1]
    else:
        stages = None
    if stages is None:
        raise ValueError(
            f'the {whose} ({type(model).__name__}, backbone '
            f'{type(backbone).__name__}) cannot be run from a map in its '
            'middle. ImageClassifiers with an MMPretrain ResNet or a '
            'convolutional backbone of luminet_mm can.'
        )
    chain: list[str] = []
    ends: dict[str, int] = {}
    for stage in stages:
        _unroll(
            backbone.get_submodule(stage), f'backbone.{stage}', chain, ends
        )
    return chain, ends


def _unroll(
    module: nn.Module, path: str, chain: list[str], ends: dict[str, int]
) -> None:
    """Append a module to the chain, or a Sequential's children."""
    if isinstance(module, nn.Sequential) and (
        type(module).forward is nn.Sequential.forward
    ):
        for name, child in module.named_children():
            _unroll(child, f'{path}.{name}', chain, ends)
    else:
        chain.append(path)
    ends[path] = len(chain)


class RoIHead(NetworkPart):
    """A two-stage detector whose box head scores RoIs on given maps.

    Args:
        model: The detector.
        whose: ``student`` or ``teacher``, for errors.
        shared: See :class:`NetworkPart`.

    Raises:
        ValueError: If the detector has no such head.
    """

    signals = ('neck', 'roi.cls_score', 'roi.bbox_pred')
    """The maps that it takes, and its predictions on them."""

    def __init__(
        self, model: BaseDetector, whose: str, shared: bool = False
    ) -> None:
        super().__init__(model, shared)
        extractor: Any = getattr(
            getattr(model, 'roi_head', None), 'bbox_roi_extractor', None
        )
        if not hasattr(extractor, 'num_inputs'):
            raise ValueError(
                f'the {whose} ({type(model).__name__}) has no RoI head with '
                'a single box head that can score RoIs on other maps. '
                'Faster and Mask R-CNN have one.'
            )
        self.levels: int = extractor.num_inputs
        self.box_coder: Any = model.roi_head.bbox_head.bbox_coder

    def predict(
        self, maps: Sequence[Tensor], rois: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score RoIs in the precision of the head's weights.

        Args:
            maps: Feature maps, at least as many levels as it reads.
            rois: ``(N, 5)``.

        Returns:
            ``cls_score`` and ``bbox_pred``, one row for each RoI.
        """
        head = self.model.roi_head
        dtype = next(head.parameters()).dtype
        levels = [level.to(dtype) for level in maps[: self.levels]]
        with (
            torch.autocast(rois.device.type, enabled=False),
            batch_statistics(head),
        ):
            outputs = head._bbox_forward(levels, rois.to(dtype))
        return outputs['cls_score'], outputs['bbox_pred']


@contextmanager
def batch_statistics(*modules: nn.Module) -> Iterator[None]:
    """Keep batch norms in train mode from updating their running statistics.

    Features of another network must not enter the running statistics.
    """
    norms = [
        norm
        for module in modules
        for norm in module.modules()
        if isinstance(norm, _BatchNorm)
        and norm.training
        and norm.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
