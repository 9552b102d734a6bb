"""LumiNet with strong augmentation: WRN-40-2 teaches ShuffleNetV1, CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_wrn-40-2_shufflenetv1_autoaugment_cifar100.py
Paper    77.97 (LumiNet, Table 5); without 76.95. Not run here yet.
Derived  the augmentation, one view with AutoAugment's policy for CIFAR: the
         paper names no policy. The loss is that of the pair without it.
"""

_base_ = [
    'luminet_wrn-40-2_shufflenetv1_cifar100.py',
    '../_base_/datasets/cifar_autoaugment.py',
]
train_dataloader = dict(dataset=dict(pipeline=_base_.autoaugment_pipeline))
