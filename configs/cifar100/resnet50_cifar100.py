"""ResNet-50 on CIFAR-100: a teacher.

Needs    CIFAR-100 in data/cifar100 (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/resnet50_cifar100.py
         or convert the published one with tools/convert_mdistiller.py
Paper    79.34 (LumiNet, Table 1). Not run here yet.
"""

_base_ = [
    '../_base_/models/cifar/resnet50.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
]
