"""LumiNet: a transformer of width 384 teaches one of 128 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vit-384.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_vit-384_vit-128_cifar100.py
Paper    68.42 (LumiNet, Table 6); student alone 65.46. Not run here yet.
Derived  everything: the authors released no settings. The training is that of
         the student alone; tau and weights are WRN-40-2's and ShuffleNetV1's.
"""

_base_ = '../_base_/pairs/cifar100/vit-384_vit-128.py'
model = dict(
    head=dict(loss=dict(loss_weight=1.0)),
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='logits',
            tau=4.0,
            loss_weight=35.0**2,
        )
    ),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_luminet=dict(warmup=20, unit='epoch'),
    ),
]
