"""NORM: ResNet-56 teaches ResNet-20 on a tenth of CIFAR-10.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md); the
         teacher is in weights/.
Run      python tools/train.py \
         configs/cifar10/norm_resnet56_resnet20_cifar10-tenth.py
Derived  the weight of cross entropy, which the authors' README has for
         ResNet-32x4 and ResNet-8x4 alone, and the schedule: their steps of
         240 epochs are straight lines here.
"""

_base_ = '../_base_/pairs/resnet56_resnet20_cifar10.py'
model = dict(
    neck=[
        dict(
            type='luminet_mm.NORMNeck',
            in_channels=64,
            teacher_channels=64,
            num_segments=8,
        ),
        dict(type='GlobalAveragePooling'),
    ],
    head=dict(
        type='luminet_mm.NormalizedClsHead',
        scale=2.5,
        loss=dict(loss_weight=0.1),
    ),
    distill=dict(
        loss_norm=dict(
            type='luminet_mm.NORMLoss',
            student='neck.0.expand',
            teacher='backbone',
            loss_weight=1.0,
        )
    ),
)
# of 790 steps the shares that 20 and 180 of 240 epochs are
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_norm=dict(warmup=66, decay=592, stop=791),
    ),
]
