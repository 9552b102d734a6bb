"""DKD: ResNet-34 teaches ResNet-18 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/dkd_resnet34_resnet18_in1k.py 8
Paper    71.70, top-5 90.41 (LumiNet, Table 2); student alone 69.75. Not run
         here yet.
Derived  nothing: the settings are DKD's own.
"""

_base_ = '../_base_/pairs/imagenet/resnet34_resnet18.py'
model = dict(
    distill=dict(
        loss_dkd=dict(
            type='luminet_mm.DKDLoss',
            signal='logits',
            tau=1.0,
            alpha=1.0,
            beta=0.5,
            loss_weight=1.0,
        )
    )
)
