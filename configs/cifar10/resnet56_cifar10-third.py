"""ResNet-56 on a third of CIFAR-10: the teacher.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md).
Run      python tools/train.py configs/cifar10/resnet56_cifar10-third.py
Result   weights/cifar10_teacher.pth, by the same with --amp and
         tools/publish.py
"""

_base_ = 'resnet20_cifar10-tenth.py'
model = dict(backbone=dict(depth=56))
train_dataloader = dict(dataset=dict(indices=[*range(0, 50000, 3)]))
train_cfg = dict(max_epochs=8)
param_scheduler = dict(milestones=[5, 6, 7])
