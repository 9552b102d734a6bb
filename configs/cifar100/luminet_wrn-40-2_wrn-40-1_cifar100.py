"""LumiNet: WRN-40-2 teaches WRN-40-1 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_wrn-40-2_wrn-40-1_cifar100.py
Paper    75.12 (LumiNet, Table 1); student alone 71.98. Not run here yet.
Derived  nothing: the settings are the authors' own.
"""

_base_ = '../_base_/pairs/cifar100/wrn-40-2_wrn-40-1.py'
model = dict(
    head=dict(loss=dict(loss_weight=1.0)),
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='logits',
            tau=8.0,
            loss_weight=75.0**2,
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
