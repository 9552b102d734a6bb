"""KD with DOT: VGG-13 teaches VGG-8 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vgg13.pth
         (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/dot_vgg13_vgg8_cifar100.py
Paper    73.77 (DOT); KD alone 72.98, student alone 70.36. Not run
         here yet.
Derived  nothing: the settings are those of DOT's authors.
"""

_base_ = './kd_vgg13_vgg8_cifar100.py'
optim_wrapper = dict(type='luminet_mm.DOTOptimWrapper', delta=0.075)
