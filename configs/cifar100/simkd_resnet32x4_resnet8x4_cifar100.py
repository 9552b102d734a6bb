"""SimKD: ResNet-8x4 predicts with the classifier of ResNet-32x4, on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/simkd_resnet32x4_resnet8x4_cifar100.py
Paper    78.08 (SimKD, factor 2); student alone 72.50 (LumiNet, Table 1). Not
         run here yet. The deployed student is larger than that one: it has a
         projector and the teacher's classifier.
Derived  nothing: the settings are the authors'.
"""

_base_ = '../_base_/pairs/cifar100/resnet32x4_resnet8x4.py'
model = dict(
    neck=[
        dict(
            type='luminet_mm.SimKDNeck',
            in_channels=256,
            out_channels=256,
            factor=2,
        ),
        dict(type='GlobalAveragePooling'),
    ],
    head=dict(
        type='luminet_mm.ReusedClsHead',
        in_channels=256,
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
