"""KD: ResNet-56 teaches ResNet-32 on CIFAR-100, the first link of a chain.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet56.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/kd_resnet56_resnet32_cifar100.py
Paper    none for this pair; student alone 71.14 (LumiNet, Table 1). Not run
         here yet.
Derived  nothing: tau and weights are mdistiller's for KD on CIFAR-100. For the
         second link see docs/configs.md.
"""

_base_ = '../_base_/pairs/cifar100/resnet56_resnet32.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
        )
    ),
)
