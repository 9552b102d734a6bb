"""LumiNet: WRN-40-2 teaches ShuffleNetV1 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_wrn-40-2_shufflenetv1_cifar100.py
Paper    76.95 (LumiNet, Table 1); student alone 70.50. Not run here yet.
Derived  nothing: the settings are the authors' own.
"""

_base_ = '../_base_/pairs/cifar100/wrn-40-2_shufflenetv1.py'
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
