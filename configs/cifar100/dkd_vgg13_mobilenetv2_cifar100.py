"""DKD: VGG-13 teaches MobileNetV2 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vgg13.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/dkd_vgg13_mobilenetv2_cifar100.py
Paper    69.71 (LumiNet, Table 1); student alone 64.60. Not run here yet.
Derived  nothing: the settings are DKD's own.
"""

_base_ = '../_base_/pairs/cifar100/vgg13_mobilenetv2.py'
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
