"""DIST: ResNet-56 teaches ResNet-20 on a tenth of CIFAR-10.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md); the
         teacher is in weights/.
Run      python tools/train.py \
         configs/cifar10/dist_resnet56_resnet20_cifar10-tenth.py
Derived  nothing: the settings are those of the paper on CIFAR-100.
"""

_base_ = '../_base_/pairs/resnet56_resnet20_cifar10.py'
model = dict(
    distill=dict(
        loss_dist=dict(
            type='luminet_mm.DISTLoss',
            signal='logits',
            tau=4.0,
            beta=2.0,
            gamma=2.0,
            loss_weight=1.0,
        )
    ),
)
