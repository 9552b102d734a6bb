"""LumiNet: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_resnet32x4_resnet8x4_cifar100.py
Paper    77.50 (LumiNet, Table 1); student alone 72.50. Not run here yet.
Derived  nothing: the settings are the authors' own.
"""

_base_ = '../_base_/pairs/cifar100/resnet32x4_resnet8x4.py'
model = dict(
    head=dict(loss=dict(loss_weight=2.0)),
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='logits',
            tau=4.0,
            loss_weight=33.0**2,
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
