"""KD: ResNet-110 teaches ResNet-32 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet110.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/kd_resnet110_resnet32_cifar100.py
Paper    73.08 (LumiNet's repository); student alone 71.14. Not run here yet.
Derived  nothing: tau and weights are mdistiller's.
"""

_base_ = '../_base_/pairs/cifar100/resnet110_resnet32.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
        )
    ),
)
