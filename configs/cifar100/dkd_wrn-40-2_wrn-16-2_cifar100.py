"""DKD: WRN-40-2 teaches WRN-16-2 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/dkd_wrn-40-2_wrn-16-2_cifar100.py
Paper    76.24 (LumiNet, Table 1); student alone 73.26. Not run here yet.
Derived  nothing: the settings are DKD's own.
"""

_base_ = '../_base_/pairs/cifar100/wrn-40-2_wrn-16-2.py'
model = dict(
    distill=dict(
        loss_dkd=dict(
            type='luminet_mm.DKDLoss',
            signal='logits',
            tau=4.0,
            alpha=1.0,
            beta=6.0,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_dkd=dict(warmup=20, unit='epoch'),
    ),
]
