"""ResNet-110 on CIFAR-100: a teacher.

Needs    CIFAR-100 in data/cifar100 (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/resnet110_cifar100.py
         or convert the published one with tools/convert_mdistiller.py
Paper    74.31 (LumiNet, Table 1). Not run here yet.
"""

_base_ = [
    '../_base_/models/cifar/resnet110.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
]
