"""DKD: ResNet-110 teaches ResNet-32 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet110.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/dkd_resnet110_resnet32_cifar100.py
Paper    74.11 (LumiNet, Table 1); student alone 71.14. Not run here yet.
Derived  nothing: the settings are DKD's own.
"""

_base_ = '../_base_/pairs/cifar100/resnet110_resnet32.py'
model = dict(
    distill=dict(
        loss_dkd=dict(
            type='luminet_mm.DKDLoss',
            signal='logits',
            tau=4.0,
            alpha=1.0,
            beta=2.0,
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
