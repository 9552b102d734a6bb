"""Co-advise: RegNetY-040 and RedNet-101 teach CivT-S on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), timm: pip install
         timm, and checkpoints/imagenet/rednet-101.pth (docs/transformers.md).
         Downloaded on first use: RegNetY-040 (timm's).
Run      tools/dist_train.sh \
         configs/imagenet/coadvise_regnety-040_rednet-101_civt-small_in1k.py 8
Paper    82.0 (the projector paper, Table 1). Not run here yet.
Derived  the teachers' weights: timm's and the involution authors'. Co-advise's
         own were given apart from its code. The rest is its code's.
"""

_base_ = './coadvise_regnety-040_rednet-101_civt-tiny_in1k.py'
model = dict(backbone=dict(arch='deit-small'), head=dict(in_channels=384))
