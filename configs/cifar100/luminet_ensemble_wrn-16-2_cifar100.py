"""LumiNet from two teachers: WRN-40-2 and ResNet-8x4 teach WRN-16-2.

Needs    CIFAR-100 in data/cifar100, checkpoints/cifar100/wrn-40-2.pth and
         checkpoints/cifar100/resnet8x4.pth (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/luminet_ensemble_wrn-16-2_cifar100.py
Paper    76.52 (LumiNet, Figure 4d); WRN-40-2 alone 76.38. Not run here yet.
Derived  tau, loss_weight and the weight of CE, as for WRN-40-2 alone. That
         both teachers' logits are averaged is the paper's.
"""

_base_ = 'luminet_wrn-40-2_wrn-16-2_cifar100.py'
model = dict(
    teacher=[
        dict(
            config='configs/cifar100/wrn-40-2_cifar100.py',
            checkpoint='checkpoints/cifar100/wrn-40-2.pth',
        ),
        dict(
            config='configs/cifar100/resnet8x4_cifar100.py',
            checkpoint='checkpoints/cifar100/resnet8x4.pth',
        ),
    ]
)
custom_hooks = [
    # a bound for the weaker of the two
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=70.0,
    ),
    *_base_.custom_hooks[1:],
]
