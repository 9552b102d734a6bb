"""VkD: RegNetY-160 teaches DeiT-S with a convolutional stem on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), and timm: pip
         install timm. Downloaded on first use: the teacher (82.6, DeiT's
         authors').
Run      tools/dist_train.sh \
         configs/imagenet/vkd_regnety-160_deit-small-conv_in1k.py 8
Paper    82.3, and 82.9 in another run (VkD's repository). Not run here yet.
Derived  as of configs/imagenet/vkd_regnety-160_deit-tiny-conv_in1k.py.
"""

_base_ = './vkd_regnety-160_deit-tiny-conv_in1k.py'
model = dict(backbone=dict(arch='deit-small'), head=dict(in_channels=384))
