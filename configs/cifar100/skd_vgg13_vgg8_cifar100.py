"""SKD: VGG-13 teaches VGG-8 on CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vgg13.pth
         (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/skd_vgg13_vgg8_cifar100.py
Paper    75.75 (the authors' release, whose students alone have other
         accuracies than these); student alone 70.36. Not run here yet.
Derived  the recipe, that of the pair's other methods here. The loss and its
         weights are the release's, without the masks, which halve the terms
         there.
"""

_base_ = '../_base_/pairs/cifar100/vgg13_vgg8.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.1)),
    distill=dict(
        loss_skd=dict(
            type='luminet_mm.SKDLoss',
            signal='logits',
            tau=4.0,
            tikhonov=0.1,
            gram_divisor='classes',
            t_squared=True,
            loss_weight=0.9,
        )
    ),
)
