"""SRD: RegNetY-160 teaches DeiT-Ti with a convolutional stem on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), and timm: pip
         install timm. Downloaded on first use: the teacher (82.6, DeiT's
         authors').
Run      tools/dist_train.sh \
         configs/imagenet/srd_regnety-160_deit-tiny-conv_in1k.py 8
Paper    77.2 (the projector paper, Table 1); DeiT-Ti alone 72.2, with a patch
         embedding and no stem. Not run here yet.
Derived  batch 512 at the authors' lr per image (they have 256 on each of one
         or two GPUs, and mixed precision, as with --amp), and eps 0.0001 in
         the normalisation, where their code for DeiT has 0. The rest is
         theirs.
"""

_base_ = '../_base_/pairs/imagenet/regnety-160_deit-tiny-conv.py'
model = dict(
    distill=dict(
        loss_srd=dict(
            type='luminet_mm.SRDLoss',
            student='backbone.ln1',
            teacher='model.s4',
            extra_tokens=2,
            form='correlation',
            exponent=4.0,
            loss_weight=1.0,
        )
    )
)
