"""NORM: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/norm_resnet32x4_resnet8x4_cifar100.py
Paper    76.49 (NORM); student alone 72.50 (LumiNet, Table 1). Not run here
         yet. The deployed student has one 1x1 convolution more than that one
         (docs/losses.md).
Derived  the schedule of the weight: the authors multiply it by 0.1, 0.5, 1,
         0.5 and 0.1 from epochs 0, 10, 20, 180 and 210 on; here it rises over
         20 epochs and falls to 0 from epoch 180 to the end.
"""

_base_ = '../_base_/pairs/cifar100/resnet32x4_resnet8x4.py'
model = dict(
    neck=[
        dict(
            type='luminet_mm.NORMNeck',
            in_channels=256,
            teacher_channels=256,
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
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_norm=dict(warmup=20, decay=180, stop=241, unit='epoch'),
    ),
]
