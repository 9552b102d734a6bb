"""LumiNet with strong augmentation: VGG-13 teaches VGG-8, CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vgg13.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_vgg13_vgg8_autoaugment_cifar100.py
Paper    75.57 (LumiNet, Table 5); without 74.94. Not run here yet.
Derived  the augmentation, one view with AutoAugment's policy for CIFAR: the
         paper names no policy. The loss is that of the pair without it.
"""

_base_ = [
    'luminet_vgg13_vgg8_cifar100.py',
    '../_base_/datasets/cifar_autoaugment.py',
]
train_dataloader = dict(dataset=dict(pipeline=_base_.autoaugment_pipeline))
