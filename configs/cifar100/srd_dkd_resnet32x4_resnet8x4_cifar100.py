"""SRD and DKD: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/srd_dkd_resnet32x4_resnet8x4_cifar100.py
Paper    76.95 (the projector paper, Table 3); SRD alone 76.55, DKD alone
         76.32. Not run here yet.
Derived  the weight of SRD, which is unpublished, and that DKD has its own
         weight and warm-up beside it.
"""

_base_ = './dkd_resnet32x4_resnet8x4_cifar100.py'
model = dict(
    distill=dict(
        loss_srd=dict(
            type='luminet_mm.SRDLoss',
            signal='feats',
            connector=dict(type='mlp', hidden=1024),
            loss_weight=1.0,
        )
    )
)
