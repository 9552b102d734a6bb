"""MLLD with two views: VGG-13 teaches VGG-8, CIFAR-100.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vgg13.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/mlld_vgg13_vgg8_cifar100.py
Paper    75.18 (LumiNet, Table 5); student alone 70.36. Not run here yet.
Derived  that both views have the whole loss, and batch norm in common
         (docs/classifiers.md). Settings are the release's, lr half the usual.
"""

_base_ = [
    '../_base_/pairs/cifar100/vgg13_vgg8.py',
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
