"""MobileNetV2 at half its width on CIFAR-100, trained alone: the baseline.

Needs    CIFAR-100 in data/cifar100 (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/mobilenetv2_cifar100.py
Paper    64.60 (LumiNet, Table 1). Not run here yet.
"""

_base_ = [
    '../_base_/models/cifar/mobilenetv2.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
]
optim_wrapper = dict(optimizer=dict(lr=0.01))
