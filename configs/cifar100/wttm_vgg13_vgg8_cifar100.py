"""WTTM: VGG-13 teaches VGG-8 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vgg13.pth
         (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/wttm_vgg13_vgg8_cifar100.py
Paper    74.44 (WTTM's README); student alone 70.36. Not run here yet.
Derived  exponent and weight. The authors' README has them for VGG-13 and VGG-8
         only, and for WTTM beside CRD; the others are in their paper's
         appendix, which was not at hand.
"""

_base_ = '../_base_/pairs/cifar100/vgg13_vgg8.py'
model = dict(
    distill=dict(
        loss_wttm=dict(
            type='luminet_mm.WTTMLoss',
            signal='logits',
            exponent=0.2,
            loss_weight=4.0,
        )
    )
)
