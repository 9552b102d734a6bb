"""ReviewKD: WRN-40-2 teaches ShuffleNetV1 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/reviewkd_wrn-40-2_shufflenetv1_cifar100.py
Paper    77.14 (LumiNet, Table 1); student alone 70.50. Not run here yet.
Derived  nothing: the settings are mdistiller's.
"""

_base_ = '../_base_/pairs/cifar100/wrn-40-2_shufflenetv1.py'
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
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_review=dict(warmup=20, unit='epoch'),
    ),
]
