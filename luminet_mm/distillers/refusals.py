"""Models that cannot be distilled as they are: refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import Parameter, signature

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
