"""FunMatch: BiT-R152x2 teaches BiT-R50x1 on 1020 flowers, without labels.

Needs    Flowers-102 in data/flowers102, timm, and
         checkpoints/flowers102/bit-r152x2.pth (docs/transformers.md).
Run      python tools/train.py \
         configs/flowers102/funmatch_bit-r152x2_bit-r50x1_flowers102.py
Paper    shows its accuracies in figures. Not run here yet.
Derived  nothing: the settings are those that the authors' repository calls
         fast, 10,000 epochs. Its others, also for Oxford-IIIT Pet, are in
         docs/transformers.md.
"""

_base_ = [
    '../_base_/models/bit-r50x1.py',
    'mmpretrain::_base_/default_runtime.py',
]
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
data_preprocessor = dict(
    num_classes=102, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True
)
model = dict(
    type='luminet_mm.ClassifierDistiller',
    head=dict(num_classes=102, loss=dict(loss_weight=0.0)),
    teacher=dict(
        config=dict(
            model=dict(
                type='mmpretrain.TimmClassifier',
                model_name='resnetv2_152x2_bit',
                num_classes=102,
                data_preprocessor=dict(
                    num_classes=102,
                    mean=[127.5] * 3,
                    std=[127.5] * 3,
                    to_rgb=True,
                ),
            )
        ),
        checkpoint='checkpoints/flowers102/bit-r152x2.pth',
    ),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='logits',
            tau=10.0,
            loss_weight=1.0,
        )
    ),
)
train_dataloader = dict(
    batch_size=512,
    num_workers=5,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='Flowers102',
        data_root='data/flowers102',
        split='train',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=128),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=5,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='Flowers102',
        data_root='data/flowers102',
        split='test',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='ResizeEdge', scale=160, edge='short'),
            dict(type='CenterCrop', crop_size=128),
            dict(type='PackInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper',
    # The authors' decay is 0.0003 and not multiplied by the lr; AdamW's is.
    optimizer=dict(type='AdamW', lr=0.003, weight_decay=3e-4 / 0.003),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 1500, by_epoch=False, end=1500),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=1500),
]
# 10,000 epochs of 1020 images in batches of 512
train_cfg = dict(by_epoch=False, max_iters=19_921, val_interval=1000)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=512)
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False,
        interval=1000,
        max_keep_ckpts=2,
        save_best='accuracy/top1',
    ),
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook'),
)
# Scores the teacher on the test split. What it should score is not in the
# authors' repository; classes in another order would score about 1.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=50.0,
    )
]
