"""MLLD with two views: ResNet-34 teaches ResNet-18, ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      tools/dist_train.sh configs/imagenet/mlld_resnet34_resnet18_in1k.py 8
Paper    LumiNet's Table 2 has no MLLD; student alone 69.75. Not run here yet.
Derived  that both views have the whole loss, and batch norm in common
         (docs/classifiers.md). Settings are the release's, lr half the usual.
"""

_base_ = [
    '../_base_/pairs/imagenet/resnet34_resnet18.py',
    '../_base_/datasets/imagenet_two_views.py',
]
data_preprocessor = dict(type='luminet_mm.MultiViewClsDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.two_view_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.1))
model = dict(
    # 0.5 of each view's cross entropy
    head=dict(loss=dict(loss_weight=1.0)),
    distill=dict(
        loss_mlld=dict(
            type='luminet_mm.MLLDLoss',
            signal='logits',
            tau=[1.0, 2.0, 3.0, 5.0, 6.0],
            views=2,
            loss_weight=0.5,
        )
    ),
)
