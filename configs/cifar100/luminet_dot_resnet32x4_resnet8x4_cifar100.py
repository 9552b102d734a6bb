"""LumiNet with DOT: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_dot_resnet32x4_resnet8x4_cifar100.py
Paper    none for both together; LumiNet alone 77.50. Not run here yet.
Derived  the combination: LumiNet's settings, and DOT's delta for KD.
"""

_base_ = './luminet_resnet32x4_resnet8x4_cifar100.py'
optim_wrapper = dict(type='luminet_mm.DOTOptimWrapper', delta=0.075)
