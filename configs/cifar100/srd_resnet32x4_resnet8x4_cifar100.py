"""SRD: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/srd_resnet32x4_resnet8x4_cifar100.py
Paper    76.55 (the projector paper, Table 3); student alone 72.50. Not run
         here yet.
Derived  loss_weight, which is unpublished. The projector of two layers with
         1024 units between, and that there is no loss on logits, are the
         authors'.
"""

_base_ = '../_base_/pairs/cifar100/resnet32x4_resnet8x4.py'
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
