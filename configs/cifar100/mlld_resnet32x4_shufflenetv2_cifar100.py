"""MLLD with two views: ResNet-32x4 teaches ShuffleNetV2, CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet32x4.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/mlld_resnet32x4_shufflenetv2_cifar100.py
Paper    78.44 (LumiNet, Table 5); student alone 71.82. Not run here yet.
Derived  240 epochs, of which the release has 960 with lr's steps as here; that
         both views have the whole loss, and batch norm in common
         (docs/classifiers.md). Else the release's, lr as usual.
"""

_base_ = [
    '../_base_/pairs/cifar100/resnet32x4_shufflenetv2.py',
    '../_base_/datasets/cifar_two_views.py',
]
data_preprocessor = dict(type='luminet_mm.MultiViewClsDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.two_view_pipeline))
model = dict(
    # 0.1 of each view's cross entropy
    head=dict(loss=dict(loss_weight=0.2)),
    distill=dict(
        loss_mlld=dict(
            type='luminet_mm.MLLDLoss',
            signal='logits',
            tau=[2.0, 3.0, 4.0, 5.0, 6.0],
            views=2,
            loss_weight=0.9,
        )
    ),
)
