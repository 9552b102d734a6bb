"""KD: ResNet-50 teaches MobileNetV1 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (76.55, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/kd_resnet50_mobilenetv1_in1k.py 8
Paper    70.50 (LumiNet's repository). Not run here yet.
Derived  the batch, 256 and not 512: that of LumiNet for this pair, at the same
         lr per image. Tau and weights are mdistiller's.
"""

_base_ = '../_base_/pairs/imagenet/resnet50_mobilenetv1.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.5)),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', tau=1.0, loss_weight=0.5
        )
    ),
)
