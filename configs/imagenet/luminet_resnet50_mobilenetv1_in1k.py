"""LumiNet: ResNet-50 teaches MobileNetV1 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (76.55, MMPretrain's zoo).
Run      tools/dist_train.sh \
         configs/imagenet/luminet_resnet50_mobilenetv1_in1k.py 8
Paper    72.55 (LumiNet's repository). Not run here yet.
Derived  nothing: the settings are those of the authors' repository.
"""

_base_ = '../_base_/pairs/imagenet/resnet50_mobilenetv1.py'
model = dict(
    head=dict(loss=dict(loss_weight=1.0)),
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='logits',
            tau=0.7,
            loss_weight=2.0**2,
        )
    ),
)
