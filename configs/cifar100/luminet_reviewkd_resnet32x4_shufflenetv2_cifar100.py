"""LumiNet with ReviewKD: ResNet-32x4 teaches ShuffleNetV2 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_reviewkd_resnet32x4_shufflenetv2_cifar100.py
Paper    77.93 (LumiNet, supplement, Table 1); LumiNet alone 77.55, ReviewKD
         alone 77.78. Not run here yet.
Derived  that both losses keep their own settings, of which LumiNet's are
         those of WRN-40-2 and ShuffleNetV1. The authors released none for the
         sum.
"""

_base_ = 'luminet_resnet32x4_shufflenetv2_cifar100.py'
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
    *_base_.custom_hooks[:-1],
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_luminet=dict(warmup=20, unit='epoch'),
        loss_review=dict(warmup=20, unit='epoch'),
    ),
]
