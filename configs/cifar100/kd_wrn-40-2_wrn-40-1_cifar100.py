"""KD: WRN-40-2 teaches WRN-40-1 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/kd_wrn-40-2_wrn-40-1_cifar100.py
Paper    73.54 (LumiNet, Table 1); student alone 71.98. Not run here yet.
Derived  nothing: tau and weights are mdistiller's.
"""

_base_ = '../_base_/pairs/cifar100/wrn-40-2_wrn-40-1.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
        )
    ),
)
