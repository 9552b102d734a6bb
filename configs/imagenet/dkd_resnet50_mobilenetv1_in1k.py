"""DKD: ResNet-50 teaches MobileNetV1 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (76.55, MMPretrain's zoo).
Run      tools/dist_train.sh \
         configs/imagenet/dkd_resnet50_mobilenetv1_in1k.py 8
Paper    72.05 (DKD's repository). Not run here yet.
Derived  the batch, 256 and not 512: that of LumiNet for this pair, at the same
         lr per image. The loss is DKD's own.
"""

_base_ = '../_base_/pairs/imagenet/resnet50_mobilenetv1.py'
model = dict(
    distill=dict(
        loss_dkd=dict(
            type='luminet_mm.DKDLoss',
            signal='logits',
            tau=1.0,
            alpha=1.0,
            beta=2.0,
            loss_weight=1.0,
        )
    )
)
