"""RLD: ResNet-34 teaches ResNet-18 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/rld_resnet34_resnet18_in1k.py 8
Paper    no accuracies in the authors' repository; student alone 69.75. Not run
         here yet.
Derived  batch and lr, those of the pair's other methods here. The loss and its
         weights are those of the authors' repository.
"""

_base_ = '../_base_/pairs/imagenet/resnet34_resnet18.py'
model = dict(
    distill=dict(
        loss_rld=dict(
            type='luminet_mm.RLDLoss',
            signal='logits',
            tau=1.0,
            alpha=1.0,
            beta=0.5,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_rld=dict(warmup=1, unit='epoch'),
    ),
]
