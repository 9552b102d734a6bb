"""WTTM: ResNet-34 teaches ResNet-18 on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/wttm_resnet34_resnet18_in1k.py 8
Paper    72.19 (WTTM's README); student alone 69.75. Not run here yet.
Derived  exponent and weight. The authors' README has none for ImageNet; the
         exponent is that of their VGG-13 and VGG-8, and the weight sets
         itself. Batch and lr are those of the pair's other methods here.
"""

_base_ = '../_base_/pairs/imagenet/resnet34_resnet18.py'
model = dict(
    distill=dict(
        loss_wttm=dict(
            type='luminet_mm.WTTMLoss',
            signal='logits',
            exponent=0.2,
            loss_weight='auto',
        )
    )
)
