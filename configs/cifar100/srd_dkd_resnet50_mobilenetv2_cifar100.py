"""SRD and DKD: ResNet-50 teaches MobileNetV2 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet50.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/srd_dkd_resnet50_mobilenetv2_cifar100.py
Paper    71.75 (the projector paper, Table 3); SRD alone 71.53, DKD alone
         70.35. Not run here yet.
Derived  the weight of SRD, which is unpublished, and that DKD has its own
         weight and warm-up beside it.
"""

_base_ = './dkd_resnet50_mobilenetv2_cifar100.py'
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
