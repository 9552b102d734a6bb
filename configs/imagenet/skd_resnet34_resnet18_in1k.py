"""SKD: ResNet-34 teaches ResNet-18 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/skd_resnet34_resnet18_in1k.py 8
Paper    no accuracy with these settings; student alone 69.75. Not run here
         yet.
Derived  nothing: loss, weights, batch and lr are those of torchdistill's
         example (3e4373c), which has no cross entropy.
"""

_base_ = '../_base_/pairs/imagenet/resnet34_resnet18.py'
model = dict(
    head=dict(loss=dict(loss_weight=0.0)),
    distill=dict(
        loss_skd=dict(
            type='luminet_mm.SKDLoss',
            signal='logits',
            tau=4.0,
            tikhonov=0.1,
            loss_weight=1.0,
        )
    ),
)
