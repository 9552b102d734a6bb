"""DeiT, soft: RegNetY-160 teaches DeiT-S's distillation token on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), and timm: pip
         install timm. Downloaded on first use: the teacher (82.6, DeiT's
         authors').
Run      tools/dist_train.sh \
         configs/imagenet/deit-soft_regnety-160_deit-small_in1k.py 8
Paper    gives no accuracy of this student; alone it has 79.9. Not run here
         yet.
Derived  the mean: KL is summed over classes and averaged over images. DeiT's
         code also divides by the number of classes, for which set
         model.distill.loss_kd.loss_weight=0.0005, 0.5 / 1000. Tau 1 and equal
         weights are the code's.
"""

_base_ = '../_base_/pairs/imagenet/regnety-160_deit-small.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.5)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            student='head.layers.head_dist',
            teacher='logits',
            tau=1.0,
            loss_weight=0.5,
        )
    ),
)
