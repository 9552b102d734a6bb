"""DeiT, hard: RegNetY-160 teaches DeiT-Ti's distillation token on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), and timm: pip
         install timm. Downloaded on first use: the teacher (82.6, DeiT's
         authors').
Run      tools/dist_train.sh \
         configs/imagenet/deit-hard_regnety-160_deit-tiny_in1k.py 8
Paper    74.5 after 300 epochs (DeiT's repository); student alone 72.2. Not run
         here yet.
Derived  nothing: the settings are those of DeiT's repository. Colour jitter,
         which it lists, is what RandAugment takes the place of.
"""

_base_ = '../_base_/pairs/imagenet/regnety-160_deit-tiny.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.5)),
    distill=dict(
        loss_hard=dict(
            type='luminet_mm.HardLabelLoss',
            student='head.layers.head_dist',
            teacher='logits',
            loss_weight=0.5,
        )
    ),
)
