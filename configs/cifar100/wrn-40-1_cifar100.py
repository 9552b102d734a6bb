"""WRN-40-1 on CIFAR-100, trained alone: the baseline.

Needs    CIFAR-100 in data/cifar100 (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/wrn-40-1_cifar100.py
Paper    71.98 (LumiNet, Table 1). Not run here yet.
"""

_base_ = [
    '../_base_/models/cifar/wrn-40-1.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
]
