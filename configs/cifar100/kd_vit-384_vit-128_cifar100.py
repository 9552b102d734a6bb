"""KD: a transformer of width 384 teaches one of 128 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vit-384.pth
         (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/kd_vit-384_vit-128_cifar100.py
Paper    67.38 (LumiNet, Table 6); student alone 65.46. Not run here yet.
Derived  the training, as for the student alone, and the weights; tau is
         Attention Probe's.
"""

_base_ = '../_base_/pairs/cifar100/vit-384_vit-128.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
        )
    ),
)
