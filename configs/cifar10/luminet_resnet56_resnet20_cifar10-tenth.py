"""LumiNet: ResNet-56 teaches ResNet-20 on a tenth of CIFAR-10.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md); the
         teacher is in weights/.
Run      python tools/train.py \
         configs/cifar10/luminet_resnet56_resnet20_cifar10-tenth.py
Derived  tau, loss_weight and the weight of CE: those of ResNet-32x4 and
         ResNet-8x4 on CIFAR-100.
"""

_base_ = '../_base_/pairs/resnet56_resnet20_cifar10.py'
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
# of 790 steps the share that 20 of 240 epochs are
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_luminet=dict(warmup=66)),
]
