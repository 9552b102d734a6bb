"""RLD: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/rld_resnet32x4_resnet8x4_cifar100.py
Paper    no accuracies in the authors' repository; student alone 72.50. Not run
         here yet.
Derived  nothing: the settings are those of the authors' repository for
         CIFAR-100, with one temperature for both terms, as its README has it.
"""

_base_ = '../_base_/pairs/cifar100/resnet32x4_resnet8x4.py'
model = dict(
    distill=dict(
        loss_rld=dict(
            type='luminet_mm.RLDLoss',
            signal='logits',
            tau=4.0,
            alpha=1.0,
            beta=8.0,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_rld=dict(warmup=20, unit='epoch'),
    ),
]
