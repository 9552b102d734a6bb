"""A vision transformer of DeiT-S's width on CIFAR-100: a teacher.

Needs    CIFAR-100 in data/cifar100 (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/vit-384_cifar100.py
Paper    76.30 (LumiNet, Table 6). Not run here yet.
Derived  all but the network: its training is unpublished. This is DeiT's, with
         Mixup, CutMix and RandAugment, at this project's batch.
"""

_base_ = [
    '../_base_/models/cifar/vit-384.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_vit_252e.py',
]
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='LabelSmoothLoss',
            label_smooth_val=0.1,
            mode='original',
        )
    ),
    train_cfg=dict(
        augments=[
            dict(type='Mixup', alpha=0.8),
            dict(type='CutMix', alpha=1.0),
        ]
    ),
)
train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(
                type='RandAugment',
                policies='timm_increasing',
                num_policies=2,
                total_level=10,
                magnitude_level=9,
                magnitude_std=0.5,
            ),
            dict(type='PackInputs'),
        ]
    ),
)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.05), clip_grad=dict(max_norm=5.0)
)
train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.001,
        by_epoch=True,
        end=20,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=20,
        end=300,
        eta_min=1e-5,
        convert_to_iter_based=True,
    ),
]
