"""Models that cannot be distilled as they are: refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import Parameter, signature
from typing import Any

from mmdet.models.backbones import TridentResNet
from mmpretrain.models.heads import (
    ConformerHead,
    MultiLabelClsHead,
    MultiTaskHead,
    RegressionHead,
)
from torch import nn

from luminet_mm.signals.two_stage import Signal

_MEANINGS = dict(
    bbox_head='a one-stage detector or a DETR',
    mask_head='an instance segmenter without RoIs',
    semantic_head='PanopticFPN',
    panoptic_head='a panoptic segmenter',
    panoptic_fusion_head='a panoptic segmenter',
)
_KINDS = dict(
    TwoStageDetector='detectors with an rpn_head and a roi_head, such as '
    'Faster, Mask and Cascade R-CNN',
    ImageClassifier='classifiers with a backbone, a neck and a head',
)


def check_keys(kind: type, stock: type, keys: Iterable[str]) -> None:
    """Refuse blocks of a model that a distiller does not extend.

    Args:
        kind (type): The distiller's class, or one that derives from it.
        stock (type): The stock class that it extends.
        keys (Iterable[str]): Of the config's ``model``.

    Raises:
        ValueError: If a constructor takes no such key.
    """
    known: set[str] = set()
    for cls in kind.__mro__[:-1]:
        if '__init__' in vars(cls):
            known.update(
                name
                for name, each in signature(cls).parameters.items()
                if each.kind is not Parameter.VAR_KEYWORD
            )
    unknown = [key for key in keys if key not in known]
    if not unknown:
        return
    of = next((_MEANINGS[key] for key in unknown if key in _MEANINGS), '')
    raise ValueError(
        f'model: {kind.__name__} extends {stock.__name__} and has no '
        f'{", ".join(unknown)}'
        + (f', which {of} has' if of else '')
        + f'. It distils {_KINDS[stock.__name__]}. A model of your own, '
        'MyModel, needs a class of its own: '
        f'class Mine({kind.__name__}, MyModel).'
    )


def check_branches(model: Any, whose: str) -> None:
    """Refuse TridentNet, of which an image has several rows.

    Raises:
        ValueError: If the model runs several branches.
    """
    backbone = model.backbone
    if not isinstance(backbone, TridentResNet):
        return
    if whose == 'teacher' and backbone.test_branch_idx != -1:
        return  # one branch in eval mode
    advice = (
        'Set test_branch_idx=1 in its backbone and its roi_head.'
        if whose == 'teacher'
        else 'It can be a teacher, with test_branch_idx=1.'
    )
    raise ValueError(
        f'the {whose} has the backbone TridentResNet, which runs each image '
        f'in {backbone.num_branch} branches: its maps are not one for each '
        f'image, and cannot be compared row by row. {advice}'
    )


def check_sampler(name: str, model: Any, signals: Iterable[Signal]) -> None:
    """Refuse modules of a box head that a sampler runs as well.

    Args:
        name (str): Key of the loss.
        model: The student.
        signals (Iterable[Signal]): What of it is compared.

    Raises:
        ValueError: If a signal is a module inside of the RoI head, and that
            runs for RoIs too that are not compared.
    """
    inner = [s.name for s in signals if s.part == 'roi' and s.path]
    if not inner:
        return
    for sampler in _samplers(getattr(model.roi_head, 'bbox_sampler', None)):
        if hasattr(sampler, 'bbox_head'):  # hard examples: OHEM, score HLR
            raise ValueError(
                f'model.distill.{name}: {inner[0]!r} lies inside of the RoI '
                f'head, which {type(sampler).__name__} runs as well, to '
                'choose RoIs by their loss. Its output there has other rows. '
                "Compare 'roi.feats', 'roi.cls_score' or 'roi.bbox_pred', or "
                'take RandomSampler.'
            )


def _samplers(sampler: Any) -> Iterator[Any]:
    """A sampler, those of a cascade's stages, and those that they combine."""
    if isinstance(sampler, (list, tuple)):
        for each in sampler:
            yield from _samplers(each)
    elif sampler is not None:
        yield sampler
        for part in ('pos_sampler', 'neg_sampler'):
            inner = getattr(sampler, part, None)
            if inner is not sampler:
                yield from _samplers(inner)


def check_head(name: str, side: str, head: nn.Module | None) -> None:
    """Refuse classifiers whose output are not the logits of one softmax.

    Args:
        name (str): Key of the loss.
        side (str): Whose head it is.
        head (nn.Module | None): The head.

    Raises:
        ValueError: If it is such a head.
    """
    what, advice = '', "compare 'feats', or take a head like LinearClsHead"
    if isinstance(head, MultiLabelClsHead):
        what = 'gives every class a probability of its own'
    elif isinstance(head, ConformerHead):
        what = 'gives two logits, of its convolutions and of its tokens'
        advice = (
            "name one of them: 'head.conv_cls_head' or 'head.trans_cls_head'"
        )
    elif isinstance(head, MultiTaskHead):
        what = 'gives logits of several tasks'
        advice = "name those of one, as in 'head.task_heads.<task>'"
    elif isinstance(head, RegressionHead):
        what = 'predicts numbers and not classes'
    elif head is not None and 'target' in signature(head.forward).parameters:
        what = 'adds a margin to the logits of the labelled class'
    if what:
        raise ValueError(
            f"model.distill.{name}: the {side}'s head "
            f'({type(head).__name__}) {what}, so its output are no logits '
            f'to compare; {advice}.'
        )
