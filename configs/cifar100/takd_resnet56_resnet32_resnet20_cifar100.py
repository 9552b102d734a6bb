"""TAKD: ResNet-56 teaches ResNet-32, which teaches ResNet-20 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 (docs/classifiers.md), and the assistant:
         train configs/cifar100/kd_resnet56_resnet32_cifar100.py first.
Run      python tools/train.py \
         configs/cifar100/takd_resnet56_resnet32_resnet20_cifar100.py
Paper    70.83 (LumiNet, Table 1), with an assistant that is not stated;
         student alone 69.06. Not run here yet.
Derived  the assistant; tau and weights of both links, which are mdistiller's
         for KD. TAKD's authors searched them link by link (docs/configs.md).
"""

_base_ = '../_base_/pairs/cifar100/resnet56_resnet32_resnet20.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
        )
    ),
)
