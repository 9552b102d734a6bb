"""KD: VGG-13 teaches MobileNetV2 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vgg13.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/kd_vgg13_mobilenetv2_cifar100.py
Paper    67.37 (LumiNet's repository); student alone 64.60. Not run here yet.
Derived  nothing: tau and weights are mdistiller's.
"""

_base_ = '../_base_/pairs/cifar100/vgg13_mobilenetv2.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
        )
    ),
)
