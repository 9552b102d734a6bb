"""Put the classes of data into the order of a trained teacher's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config

from luminet_mm.preflight.classes import class_names
from luminet_mm.preflight.leaves import leaves
from luminet_mm.recipe.coco import write_coco
from luminet_mm.recipe.dataset import Data, Split


def in_teachers_order(data: Data, teacher: Config, out: Path) -> Data:
    """The data with the classes as a teacher numbers them.

    Names alone do not make a layout's order: VOC has none, and two exports of
    the same labels may differ. A teacher with other classes is left to the
    check of the configs.

    Args:
        data: With boxes.
        teacher: Its whole config, with the data that it was trained on.
        out: Where annotation files in that order are written.
    """
    names = _classes_of(teacher)
    if names == list(data.classes) or sorted(names) != sorted(data.classes):
        return data
    note = f'classes are in the order of the teacher: {", ".join(names)}'
    return replace(
        data,
        classes=tuple(names),
        train=_reordered(data.train, names, out / 'train.json'),
        val=_reordered(data.val, names, out / 'val.json'),
        notes=[*data.notes, note],
    )


def _classes_of(cfg: Config) -> list[str]:
    for phase in ('train', 'val', 'test'):
        for leaf in leaves(cfg, phase):
            try:
                found = class_names(leaf)
            except ValueError:
                continue
            if found:
                return found
    return []


def _reordered(split: Split, names: list[str], path: Path) -> Split:
    """A COCO file whose categories, and so its labels, have an order."""
    content = json.loads(Path(str(split.ann_file)).read_text('utf-8'))
    known = {each['name']: each for each in content['categories']}
    content['categories'] = [known[name] for name in names]
    return write_coco(content, split.photos, path)
