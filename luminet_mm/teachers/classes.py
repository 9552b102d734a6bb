"""Which classes a teacher knows, and whether they are the student's."""

from __future__ import annotations

from mmengine.config import Config


def classes_of_config(cfg: Config) -> tuple[str, ...]:
    """Class names that a config's training data declares; else empty."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    classes = (dataset.get('metainfo') or {}).get('classes') or ()
    return () if isinstance(classes, str) else tuple(classes)


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
