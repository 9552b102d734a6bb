"""Which classes a teacher knows, and whether they are the student's."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS


def classes_of_config(cfg: Config) -> tuple[str, ...]:
    """Class names that a config's training data declares; else empty."""
    classes = (_innermost(cfg).get('metainfo') or {}).get('classes') or ()
    return () if isinstance(classes, str) else tuple(classes)


def classes_of_dataset(cfg: Config, scope: str) -> tuple[str, ...]:
    """Class names that the type of a config's training data has; else empty.

    Those of COCO and ImageNet, which their configs leave out.

    Args:
        cfg: The config.
        scope: Where the type is looked up.
    """
    kind = _innermost(cfg).get('type')
    if not kind:
        return ()
    with DATASETS.switch_scope_and_registry(scope) as registry:
        found = registry.get(kind) if isinstance(kind, str) else kind
    metainfo = getattr(found, 'METAINFO', None) or {}
    return tuple(metainfo.get('classes') or ())


def _innermost(cfg: Config) -> dict:
    """The first training data set of a config, without wrappers."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    return dataset


def classes_of_checkpoint(checkpoint: dict) -> tuple[str, ...]:
    """Class names in the metadata of MMDetection 2 or 3; else empty."""
    meta = checkpoint.get('meta') or {}
    dataset_meta = meta.get('dataset_meta')
    if not isinstance(dataset_meta, dict):
        dataset_meta = {}
    # capital letters until MMDetection 3.0
    named = {str(key).lower(): value for key, value in dataset_meta.items()}
    classes = named.get('classes') or meta.get('CLASSES') or ()
    if not isinstance(classes, (list, tuple)):
        return ()
    return tuple(map(str, classes))


def check_classes(teacher: Sequence[str], student: Sequence[str]) -> None:
    """Compare a teacher's class names and their order with a student's.

    Nothing is compared where one side does not name its classes.

    Raises:
        ValueError: If they differ; names the first that does.
    """
    theirs, ours = list(teacher), list(student)
    if not theirs or not ours or theirs == ours:
        return
    if len(theirs) == len(ours):
        index = next(i for i, (a, b) in enumerate(zip(theirs, ours)) if a != b)
        what = (
            f'class {index} is {theirs[index]!r} for the teacher and '
            f'{ours[index]!r} for the student'
        )
    else:
        only = sorted(set(theirs) ^ set(ours))
        what = (
            f'the teacher has {len(theirs)} classes, the student '
            f'{len(ours)}; not in both: {", ".join(only[:8])}'
        )
    raise ValueError(
        f'teacher and student disagree on the classes: {what}. Logits are '
        'compared class by class, so names and order must be the same: '
        'train the teacher on this data set, give the data set the '
        "teacher's order with metainfo=dict(classes=...), or map its classes "
        "with classes={'car': ['car', 'van'], ...} in the teacher's block."
    )
