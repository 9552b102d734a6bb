"""ResNet-20 alone on a tenth of CIFAR-10: what distillation has to beat.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md).
Run      python tools/train.py configs/cifar10/resnet20_cifar10-tenth.py
"""

_base_ = [
    '../_base_/models/cifar/resnet20.py',
    '../_base_/datasets/cifar10_tenth.py',
    '../_base_/schedules/cifar_10e.py',
]
model = dict(head=dict(num_classes=10, topk=(1,)))
