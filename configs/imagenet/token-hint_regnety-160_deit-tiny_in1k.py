"""Token hints after DearKD: RegNetY-160 teaches DeiT-Ti's early tokens.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), and timm: pip
         install timm. Downloaded on first use: the teacher (82.6, DeiT's
         authors').
Run      tools/dist_train.sh \
         configs/imagenet/token-hint_regnety-160_deit-tiny_in1k.py 8
Paper    none of this config. DearKD, which it follows as far as that is
         public, reports 74.8. Not run here yet.
Derived  which layers are compared and how they are aligned, the weight of 1,
         and the epoch after which nothing is distilled: ours, since DearKD's
         are not public (docs/transformers.md). Its attention layers are not
         here. All else is DeiT's, hard.
"""

_base_ = 'deit-hard_regnety-160_deit-tiny_in1k.py'
model = dict(
    distill=dict(
        loss_hint=dict(
            type='luminet_mm.TokenHintLoss',
            student='backbone.layers.1',
            teacher='model.s1',  # timm's name of the first stage
            extra_tokens=2,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    # the first stage distils, the second continues without a teacher
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_hard=dict(stop=251, unit='epoch'),
        loss_hint=dict(stop=251, unit='epoch'),
    ),
]
