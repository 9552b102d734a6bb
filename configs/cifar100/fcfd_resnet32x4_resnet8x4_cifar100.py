"""FCFD: ResNet-32x4 teaches ResNet-8x4 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/fcfd_resnet32x4_resnet8x4_cifar100.py
Paper    76.80 (LumiNet, Table 1); student alone 72.50. Not run here yet. The
         authors' teacher is in train mode, ours is in eval mode.
Derived  nothing: the settings are FCFD's own, Nesterov momentum included.
"""

_base_ = '../_base_/pairs/cifar100/resnet32x4_resnet8x4.py'
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
            feature_weight=5.0,
            paths=2,
            loss_weight=1.0,
        )
    )
)
optim_wrapper = dict(optimizer=dict(nesterov=True))
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_fcfd=dict(warmup=20, unit='epoch', part='features'),
    ),
]
