"""DKD: ResNet-56 teaches ResNet-20 on a tenth of CIFAR-10.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md); the
         teacher is in weights/.
Run      python tools/train.py \
         configs/cifar10/dkd_resnet56_resnet20_cifar10-tenth.py
Derived  nothing: the settings are those for this pair on CIFAR-100.
"""

_base_ = '../_base_/pairs/resnet56_resnet20_cifar10.py'
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
    ),
)
# of 790 steps the share that 20 of 240 epochs are
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_dkd=dict(warmup=66)),
]
