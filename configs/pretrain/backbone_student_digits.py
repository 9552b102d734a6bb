"""Classify crops of digits: pretraining for the student's backbone.

Needs    nothing; the crops are made on first use (4000 scenes, 40 s).
Run      python tools/train.py configs/pretrain/backbone_student_digits.py
Result   weights/digits_student_backbone.pth, by tools/publish.py --half
"""

# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
default_scope = 'mmpretrain'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='luminet_mm.CropAroundBox', size=48),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='luminet_mm.DigitCropsDataset',
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='luminet_mm.DigitCropsDataset',
        split='val',
        num_images=200,
        pipeline=train_pipeline,
    ),
)
val_evaluator = dict(type='Accuracy', topk=1)
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        num_classes=10,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type='mmdet.ResNet',
        depth=18,
        base_channels=16,
        stem_channels=16,
        out_indices=(3,),
        norm_eval=False,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=128,
        loss=dict(type='CrossEntropyLoss'),
    ),
)
max_epochs = 4
train_cfg = dict(by_epoch=True, max_epochs=max_epochs)
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.003, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=3e-5,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(logger=dict(type='LoggerHook', interval=50))
randomness = dict(seed=0)
