"""The parts of a model that are plain functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from mmdet.models import SingleStageDetector, TwoStageDetector
from mmdet.models.detectors import DetectionTransformer
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

OF_HEAD = ('cls_score', 'bbox_pred', 'centerness')
"""What one-stage heads give, in their order."""


class Part(NamedTuple):
    """A function of tensors, with what it is called with."""

    name: str
    """What is added to the file's name; '' for a whole model."""
    module: nn.Module
    """The function: tensors in, a tuple of tensors out."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Callable[[int], tuple[Tensor, ...]]
    """Random inputs; the first axis of some has this length."""
    varies: tuple[bool, ...]
    """Of which inputs it has."""


class Pixels(nn.Module):
    """Normalise pixels as a model's data preprocessor does.

    Args:
        preprocessor: It.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self.swaps = bool(
            getattr(preprocessor, '_channel_conversion', False)
            or getattr(preprocessor, 'to_rgb', False)
        )
        mean, std = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
        if getattr(preprocessor, '_enable_normalize', False):
            mean, std = preprocessor.mean, preprocessor.std
        self.register_buffer('mean', mean.detach().clone())
        self.register_buffer('std', std.detach().clone())

    def forward(self, images: Tensor) -> Tensor:
        """Normalise.

        Args:
            images: Shape (N, C, H, W), 0 to 255, channels as the data
                pipeline has them: BGR, if OpenCV has read them.
        """
        if self.swaps:
            images = images.flip(1)
        return (images - self.mean) / self.std


class WholeClassifier(nn.Module):
    """From pixels to logits."""

    model: Any

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        self.model, self.pixels = model, Pixels(model.data_preprocessor)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        feats = self.model.extract_feat(self.pixels(images))
        return (self.model.head(feats),)


class DenseMaps(nn.Module):
    """From pixels to the maps of a one-stage head, before boxes and NMS."""

    model: Any

    def __init__(self, model: SingleStageDetector) -> None:
        super().__init__()
        self.model, self.pixels = model, Pixels(model.data_preprocessor)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.model.extract_feat(self.pixels(images))
        return tuple(flat(self.model.bbox_head(maps)))


class RPNMaps(nn.Module):
    """From pixels to the pyramid and the maps of the RPN."""

    model: Any

    def __init__(self, model: TwoStageDetector) -> None:
        super().__init__()
        self.model, self.pixels = model, Pixels(model.data_preprocessor)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.model.extract_feat(self.pixels(images))
        return (*maps, *flat(self.model.rpn_head(maps)))


class RoIScores(nn.Module):
    """From a pyramid and RoIs to their logits and deltas.

    The stock extractor looks up which RoIs belong to a level, and leaves out
    a level without any: a trace would keep the levels of its example. Here
    each level answers for all RoIs, and the right answer is taken.
    """

    extractor: Any
    head: Any

    def __init__(self, extractor: Any, head: Any) -> None:
        super().__init__()
        self.extractor, self.head = extractor, head

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Score RoIs.

        Args:
            *inputs: RoIs of shape (R, 5), index of the image, then x1, y1,
                x2, y2; and each level that the extractor reads.
        """
        rois, maps = inputs[0], inputs[1:]
        layers = self.extractor.roi_layers
        level = self.extractor.map_roi_levels(rois, len(layers))
        feats = layers[0](maps[0], rois)
        for i in range(1, len(layers)):
            here = (level == i)[:, None, None, None]
            feats = torch.where(here, layers[i](maps[i], rois), feats)
        return tuple(self.head(feats))


def parts_of(model: Any, size: tuple[int, int]) -> list[Part]:
    """Take a model apart into what can be exported.

    Args:
        model: A stock student, as its config and checkpoint give it.
        size: Height and width of its images.

    Returns:
        One part for a classifier and for a one-stage detector; for a
        two-stage detector the RPN, and each stage of the RoI head.

    Raises:
        ValueError: If the model is of another kind, or the size does not
            suit it.
    """
    divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
    if size[0] % divisor or size[1] % divisor:
        raise ValueError(
            f'--size {size[0]} {size[1]}: this model pads its images to a '
            f'multiple of {divisor}, which an exported file does not. Give '
            'such a size.'
        )
    model.eval()
    if isinstance(model, ImageClassifier):
        module: nn.Module = WholeClassifier(model)
        return [_of_images(module, '', size, ('logits',))]
    if isinstance(model, TwoStageDetector):
        return _of_two_stages(model, size)
    if isinstance(model, SingleStageDetector) and not isinstance(
        model, DetectionTransformer
    ):
        with torch.no_grad():
            # group norm refuses one image of one place
            maps = model.extract_feat(torch.zeros(2, 3, *size))
            names = _named(OF_HEAD, model.bbox_head(maps))
        return [_of_images(DenseMaps(model), '', size, names)]
    raise ValueError(
        f'{type(model).__name__}: only classifiers, one-stage detectors and '
        'two-stage detectors can be exported.'
    )


def _of_two_stages(
    model: TwoStageDetector, size: tuple[int, int]
) -> list[Part]:
    with torch.no_grad():
        maps = model.extract_feat(torch.zeros(1, 3, *size))
        dense = model.rpn_head(maps)
    names = tuple(f'neck_{i}' for i in range(len(maps)))
    of_rpn = _named(('rpn_cls_score', 'rpn_bbox_pred'), dense)
    found = [_of_images(RPNMaps(model), 'rpn', size, (*names, *of_rpn))]
    extractors = _listed(model.roi_head.bbox_roi_extractor)
    heads = _listed(model.roi_head.bbox_head)
    for i, (extractor, head) in enumerate(zip(extractors, heads)):
        name = 'roi' if len(heads) == 1 else f'roi_{i}'
        found.append(_of_rois(extractor, head, name, size, maps))
    return found


def _of_rois(
    extractor: Any,
    head: nn.Module,
    name: str,
    size: tuple[int, int],
    maps: tuple[Tensor, ...],
) -> Part:
    levels = len(extractor.roi_layers)

    def example(length: int) -> tuple[Tensor, ...]:
        corners = torch.rand(length, 2) * torch.tensor(size[::-1]) / 2
        # of all sizes, so that there are some of each level
        extent = torch.rand(length, 2) ** 2 * torch.tensor(size[::-1]) / 2 + 1
        images = torch.zeros(length, 1)
        rois = torch.cat([images, corners, corners + extent], 1)
        return rois, *(torch.randn_like(level) for level in maps[:levels])

    return Part(
        name,
        RoIScores(extractor, head),
        ('rois', *(f'neck_{i}' for i in range(levels))),
        ('cls_score', 'bbox_pred'),
        example,
        (True, *[False] * levels),
    )


def _of_images(
    module: nn.Module, name: str, size: tuple[int, int], outputs: tuple
) -> Part:
    return Part(
        name,
        module,
        ('images',),
        outputs,
        lambda length: (torch.rand(length, 3, *size) * 255,),
        (True,),
    )


def _named(kinds: tuple[str, ...], outputs: Any) -> tuple[str, ...]:
    """Names of what a dense head gives: a list of levels for each kind."""
    return tuple(
        f'{kind}_{level}'
        for kind, levels in zip(kinds, outputs)
        for level in range(len(levels))
    )


def _listed(module: nn.Module) -> list[nn.Module]:
    """The stages of a cascade; a plain head is the only one."""
    return list(module) if isinstance(module, nn.ModuleList) else [module]


def flat(value: Any) -> Iterable[Tensor]:
    """The tensors of nested tuples and lists, in order."""
    if isinstance(value, Tensor):
        yield value
    else:
        for each in value:
            yield from flat(each)
