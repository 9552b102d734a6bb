"""KD with DOT: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/dot_resnet32x4_resnet8x4_cifar100.py
Paper    75.12 (DOT); KD alone 73.33, student alone 72.50. Not run
         here yet.
Derived  nothing: the settings are those of DOT's authors.
"""

_base_ = './kd_resnet32x4_resnet8x4_cifar100.py'
optim_wrapper = dict(type='luminet_mm.DOTOptimWrapper', delta=0.075)
