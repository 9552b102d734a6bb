"""ReviewKD: ResNet-32x4 teaches ShuffleNetV2 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/reviewkd_resnet32x4_shufflenetv2_cifar100.py
Paper    77.78 (LumiNet, Table 1); student alone 71.82. Not run here yet.
Derived  nothing: the settings are mdistiller's.
"""

_base_ = '../_base_/pairs/cifar100/resnet32x4_shufflenetv2.py'
model = dict(
    distill=dict(
        loss_review=dict(
            type='luminet_mm.ReviewKDLoss',
            student=[
                'backbone.layer1',
                'backbone.layer2',
                'backbone.layer3',
                'feats',
            ],
            teacher=[
                'backbone.layer1.preact',
                'backbone.layer2.preact',
                'backbone.layer3.preact',
                'feats',
            ],
            loss_weight=8.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_review=dict(warmup=20, unit='epoch'),
    ),
]
