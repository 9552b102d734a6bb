"""SRD: RegNetY-160 teaches DeiT-S with a convolutional stem on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), and timm: pip
         install timm. Downloaded on first use: the teacher (82.6, DeiT's
         authors').
Run      tools/dist_train.sh \
         configs/imagenet/srd_regnety-160_deit-small-conv_in1k.py 8
Paper    82.1 (the projector paper, Table 1); DeiT-S alone 79.8, with a patch
         embedding and no stem. Not run here yet.
Derived  as of configs/imagenet/srd_regnety-160_deit-tiny-conv_in1k.py.
"""

_base_ = './srd_regnety-160_deit-tiny-conv_in1k.py'
model = dict(backbone=dict(arch='deit-small'), head=dict(in_channels=384))
