"""LumiNet with ReviewKD: WRN-40-2 teaches ShuffleNetV1 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_reviewkd_wrn-40-2_shufflenetv1_cifar100.py
Paper    77.29 (LumiNet, supplement, Table 1); LumiNet alone 76.95, ReviewKD
         alone 77.14. Not run here yet.
Derived  that both losses keep their own settings. The authors released none
         for the sum.
"""

_base_ = 'luminet_wrn-40-2_shufflenetv1_cifar100.py'
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
            loss_weight=5.0,
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
