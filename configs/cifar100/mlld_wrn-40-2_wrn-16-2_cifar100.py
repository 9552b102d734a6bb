"""MLLD with two views: WRN-40-2 teaches WRN-16-2, CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/wrn-40-2.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/mlld_wrn-40-2_wrn-16-2_cifar100.py
Paper    76.63 (LumiNet, Table 5); student alone 73.26. Not run here yet.
Derived  that both views have the whole loss, and batch norm in common
         (docs/classifiers.md). Settings are the release's, lr half the usual.
"""

_base_ = [
    '../_base_/pairs/cifar100/wrn-40-2_wrn-16-2.py',
    '../_base_/datasets/cifar_two_views.py',
]
data_preprocessor = dict(type='luminet_mm.MultiViewClsDataPreprocessor')
train_dataloader = dict(dataset=dict(pipeline=_base_.two_view_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.025))
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
