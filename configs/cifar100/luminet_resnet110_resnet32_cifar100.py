"""LumiNet: ResNet-110 teaches ResNet-32 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet110.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_resnet110_resnet32_cifar100.py
Paper    74.20 (LumiNet, Table 1); student alone 71.14. Not run here yet.
Derived  tau, loss_weight and the weight of CE: those of ResNet-32x4 and
         ResNet-8x4. The authors released none for this pair.
"""

_base_ = '../_base_/pairs/cifar100/resnet110_resnet32.py'
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
