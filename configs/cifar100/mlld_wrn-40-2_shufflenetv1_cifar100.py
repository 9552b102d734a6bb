"""MLLD with two views: WRN-40-2 teaches ShuffleNetV1, CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/mlld_wrn-40-2_shufflenetv1_cifar100.py
Paper    77.44 (LumiNet, Table 5); student alone 70.50. Not run here yet.
Derived  240 epochs, of which the release has 480 with lr's steps as here; that
         both views have the whole loss, and batch norm in common
         (docs/classifiers.md). Else the release's, lr as usual.
"""

_base_ = [
    '../_base_/pairs/cifar100/wrn-40-2_shufflenetv1.py',
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
