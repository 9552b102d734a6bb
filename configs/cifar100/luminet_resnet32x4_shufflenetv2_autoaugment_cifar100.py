"""LumiNet with strong augmentation: ResNet-32x4 teaches ShuffleNetV2.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_resnet32x4_shufflenetv2_autoaugment_cifar100.py
Paper    79.12 (LumiNet, Table 5); without 77.55. Not run here yet.
Derived  the augmentation, one view with AutoAugment's policy for CIFAR: the
         paper names no policy. The loss is that of the pair without it.
"""

_base_ = [
    'luminet_resnet32x4_shufflenetv2_cifar100.py',
    '../_base_/datasets/cifar_autoaugment.py',
]
train_dataloader = dict(dataset=dict(pipeline=_base_.autoaugment_pipeline))
