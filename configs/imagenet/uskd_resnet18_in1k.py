"""USKD: ResNet-18 softens its own labels on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md); no teacher.
Run      tools/dist_train.sh configs/imagenet/uskd_resnet18_in1k.py 8
Paper    70.79 (NKD and USKD, their README); student alone 69.90 there. Not
         run here yet.
Derived  nothing: alpha, beta and mu are the authors'.
"""

_base_ = 'resnet18_in1k.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    distill=dict(
        loss_uskd=dict(
            type='luminet_mm.USKDLoss',
            student=['logits', 'backbone.layer3'],
            alpha=1.0,
            beta=0.1,
            mu=0.005,
            loss_weight=1.0,
        )
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
