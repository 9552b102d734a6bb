"""WTTM: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/wttm_resnet32x4_resnet8x4_cifar100.py
Paper    76.06 (WTTM's README); student alone 72.50. Not run here yet.
Derived  exponent and weight. The authors' README has them for VGG-13 and VGG-8
         only, and for WTTM beside CRD; the others are in their paper's
         appendix, which was not at hand.
"""

_base_ = '../_base_/pairs/cifar100/resnet32x4_resnet8x4.py'
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
