"""SRD: ResNet-34 teaches ResNet-18 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/srd_resnet34_resnet18_in1k.py 8
Paper    71.87, top-5 90.71 (the projector paper, Table 2, as errors of 28.13
         and 9.29); student alone 69.75. Not run here yet.
Derived  batch and lr, those of the pair's other methods here. The losses and
         their weights are the authors'.
"""

_base_ = '../_base_/pairs/imagenet/resnet34_resnet18.py'
model = dict(
    distill=dict(
        loss_srd=dict(
            type='luminet_mm.SRDLoss', signal='feats', loss_weight=2.0
        ),
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=1.0, loss_weight=1.0
        ),
    )
)
