"""LumiNet: ResNet-34 teaches ResNet-18 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh \
         configs/imagenet/luminet_resnet34_resnet18_in1k.py 8
Paper    71.78, top-5 90.71 (LumiNet, Table 2); 72.16 in the authors'
         repository; student alone 69.75. Not run here yet.
Derived  nothing: the settings are those of the authors' repository. Their
         paper has batch 128 and lr 0.1.
"""

_base_ = '../_base_/pairs/imagenet/resnet34_resnet18.py'
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
