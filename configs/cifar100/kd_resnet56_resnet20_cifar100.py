"""KD: ResNet-56 teaches ResNet-20 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet56.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/kd_resnet56_resnet20_cifar100.py
Paper    70.66 (LumiNet, Table 1); student alone 69.06. Not run here yet.
Derived  nothing: tau and weights are mdistiller's.
"""

_base_ = '../_base_/pairs/cifar100/resnet56_resnet20.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
        )
    ),
)
