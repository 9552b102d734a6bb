"""FCFD: ResNet-56 teaches ResNet-20 on a tenth of CIFAR-10.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md); the
         teacher is in weights/.
Run      python tools/train.py \
         configs/cifar10/fcfd_resnet56_resnet20_cifar10-tenth.py
Derived  plain momentum, as for the other methods here, where the authors take
         Nesterov's; the settings are those for this pair on CIFAR-100.
"""

_base_ = '../_base_/pairs/resnet56_resnet20_cifar10.py'
model = dict(
    distill=dict(
        loss_fcfd=dict(
            type='luminet_mm.FCFDLoss',
            signal=[
                'backbone.layer1',
                'backbone.layer2',
                'backbone.layer3',
                'logits',
            ],
            tau=4.0,
            feature_weight=0.02,
            paths=2,
            loss_weight=1.0,
        )
    ),
)
# of 790 steps the share that 20 of 240 epochs are
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_fcfd=dict(warmup=66, part='features'),
    ),
]
