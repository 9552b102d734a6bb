"""KD: ResNet-34 teaches ResNet-18 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/kd_resnet34_resnet18_in1k.py 8
Paper    70.66, top-5 89.88 (LumiNet, Table 2); student alone 69.75. Not run
         here yet.
Derived  nothing: tau and weights are mdistiller's.
"""

_base_ = '../_base_/pairs/imagenet/resnet34_resnet18.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.5)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=1.0, loss_weight=0.5
        )
    ),
)
