"""SimKD: ResNet-20 with ResNet-56's classifier on a tenth of CIFAR-10.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md); the
         teacher is in weights/.
Run      python tools/train.py \
         configs/cifar10/simkd_resnet56_resnet20_cifar10-tenth.py
Derived  nothing: the settings are the authors' for other pairs on CIFAR-100.
"""

_base_ = '../_base_/pairs/resnet56_resnet20_cifar10.py'
model = dict(
    neck=[
        dict(
            type='luminet_mm.SimKDNeck',
            in_channels=64,
            out_channels=64,
            factor=2,
        ),
        dict(type='GlobalAveragePooling'),
    ],
    head=dict(
        type='luminet_mm.ReusedClsHead',
        in_channels=64,
        loss=dict(loss_weight=0.0),
    ),
    distill=dict(
        loss_simkd=dict(
            type='luminet_mm.SimKDLoss',
            student='neck.0',
            teacher='backbone',
            factor=None,
            loss_weight=1.0,
        )
    ),
)
