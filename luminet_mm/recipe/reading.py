"""Read a folder of data, whatever layout it has."""

from __future__ import annotations

from pathlib import Path

from luminet_mm.recipe.class_folders import read_class_folders
from luminet_mm.recipe.coco import read_coco
from luminet_mm.recipe.dataset import Data, DataError
from luminet_mm.recipe.voc import read_voc
from luminet_mm.recipe.yolo import read_yolo

LAYOUTS = (read_coco, read_yolo, read_voc, read_class_folders)
_HELP = """\
  COCO           annotations/instances_train.json and instances_val.json,
                 or train.json and val.json, or train/_annotations.coco.json
  YOLO           data.yaml with names, train and val; images/ and labels/
  VOC            Annotations/*.xml, JPEGImages/*, ImageSets/Main/train.txt
  class folders  train/cat/*.jpg, train/dog/*.jpg, val/cat/*.jpg, ..."""


def read_data(root: Path, out: Path) -> Data:
    """Find out what a folder holds.

    Args:
        root: The folder.
        out: Where annotations are written that it does not have in COCO's
            form: converted ones, and those of a split that is made.

    Raises:
        DataError: If the folder is missing, or its layout is not known.
    """
    root = root.expanduser().resolve()
    if not root.is_dir():
        raise DataError(
            f'{root} is not a folder. Give the folder of the data.'
        )
    for read in LAYOUTS:
        found = read(root, out)
        if found is not None:
            return found
    raise DataError(
        f'{root} is in none of the layouts that can be read:\n{_HELP}'
    )
