"""KD: ResNet-56 teaches ResNet-20 on a tenth of CIFAR-10.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md); the
         teacher is in weights/.
Run      python tools/train.py \
         configs/cifar10/kd_resnet56_resnet20_cifar10-tenth.py
Derived  nothing: tau and weights are those of the papers on CIFAR-100.
"""

_base_ = '../_base_/pairs/resnet56_resnet20_cifar10.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='logits',
            tau=4.0,
            loss_weight=0.9,
        )
    ),
)
