"""A small vision transformer on CIFAR-100, trained alone: the baseline.

Needs    CIFAR-100 in data/cifar100 (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/vit-128_cifar100.py
Paper    65.46 (LumiNet, Table 6). Not run here yet.
Derived  the training: optimizer, epochs and batch are Attention Probe's for
         its own images, with CIFAR's crops and statistics on both splits.
"""

_base_ = [
    '../_base_/models/cifar/vit-128.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_vit_252e.py',
]
train_dataloader = dict(batch_size=256)
