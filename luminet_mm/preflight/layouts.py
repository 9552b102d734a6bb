"""The expected layout of classification data, and what is missing from it.

MMPretrain notices only when it loads them. An extra class folder shifts all
labels after it, which it does not notice at all.
"""

from __future__ import annotations

import os
from pathlib import Path

TINY = 'http://cs231n.stanford.edu/tiny-imagenet-200.zip'


def layout_problems(cls: type | None, dataset: dict) -> list[str] | None:
    """Look for the files of a CIFAR, ImageNet or class-folder data set.

    Args:
        cls: Class of the data set.
        dataset: Its config.

    Returns:
        What is missing, where to get it and where to put it;
        empty if everything is there. None if the layout is not known: another
        class, an annotation file, images without labels.
    """
    from mmpretrain.datasets import CIFAR10, CustomDataset, ImageNet

    root = Path(dataset.get('data_root') or '')
    prefix = dataset.get('data_prefix') or ''
    if isinstance(prefix, dict):
        prefix = prefix.get('img_path') or ''
    if cls is None or dataset.get('ann_file'):
        return None
    if issubclass(cls, CIFAR10):
        return _cifar_problems(cls, root / prefix)
    if not dataset.get('with_label', True) or dataset.get('split') == 'test':
        return None
    if cls is ImageNet:
        return _imagenet_problems(root, prefix, dataset.get('split') or '')
    if cls is CustomDataset:
        return _folder_problems(root, root / prefix)
    return None


def _cifar_problems(cls, root: Path) -> list[str]:
    from mmpretrain.datasets.utils import check_md5

    folder = root / cls.base_folder
    mend = (
        f'get {cls.url} and unpack it there: tar -xzf {cls.filename} -C {root}'
    )
    for name, md5 in cls.train_list + cls.test_list:
        path = folder / name
        if not path.is_file():
            return [f'no file {path}; {mend}']
        if not check_md5(str(path), md5):
            return [f'{path} is not {cls.__name__} or is damaged; {mend}']
    return []


def _imagenet_problems(root: Path, prefix: str, split: str) -> list[str]:
    folder = root / (prefix or split)
    mend = (
        'get the training and validation images of ILSVRC2012 from '
        f'https://image-net.org and lay them out as {folder}/n01440764/*.JPEG '
        f'and so on, or flat with {root}/meta/{split or "train"}.txt'
    )
    if not folder.is_dir():
        return [f'no folder {folder}; {mend}']
    if split and (root / 'meta' / f'{split}.txt').is_file():
        return []
    count = len(_folders(folder))
    if count != 1000:
        return [f'{folder} has {count} class folders, not 1000; {mend}']
    return []


def _folder_problems(root: Path, folder: Path) -> list[str]:
    names = root / 'wnids.txt'
    if root.name == 'tiny-imagenet-200' and not names.is_file():
        return [
            f'no file {names}; get {TINY} and unpack it: unzip '
            f'tiny-imagenet-200.zip -d {root.parent}'
        ]
    if not folder.is_dir():
        return [f'no folder {folder}; put a folder of images per class there']
    found = _folders(folder)
    if not names.is_file():
        return (
            []
            if found
            else [f'{folder} has no folder; it needs one per class']
        )
    needed = set(names.read_text(encoding='utf-8').split())
    wrong = sorted(found ^ needed)
    if not wrong:
        return []
    what = f'{folder} and {names} differ: {", ".join(wrong[:4])}'
    what += f' and {len(wrong) - 4} more' if len(wrong) > 4 else ''
    if (folder / 'val_annotations.txt').is_file():
        return [
            f'{what}; sort the images into a folder per class: '
            f'python tools/prepare_tiny_imagenet.py {root}'
        ]
    return [f'{what}; each folder is a class, so keep only those']


def _folders(path: Path) -> set[str]:
    with os.scandir(path) as entries:
        return {entry.name for entry in entries if entry.is_dir()}
